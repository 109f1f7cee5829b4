"""An HTTP proxy that leads every host to one server, for clients whose address is fixed."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import ExitStack, suppress

import trustme

from support.loop import Loop
from support.proxy import HOST, Proxy


class ConnectProxy:
    """Answers `CONNECT` to any host with a connection to the server at *to_port*, over TLS.

    `certificate` is the path of the authority that clients must trust. `asked` lists the hosts that
    clients wanted. Clients without a proxy can connect to `tls_port`.
    """

    def __init__(self, to_port, *hosts, folder):
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(tls)
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.certificate)
        self.asked = []
        self._tls = Proxy(to_port, tls=tls)

    def __enter__(self):
        self._open = ExitStack()
        self.tls_port = self._open.enter_context(self._tls).port
        self._loop = self._open.enter_context(Loop())
        server = self._loop.run(asyncio.start_server(self._serve, HOST, 0))
        self._open.callback(self._loop.call, server.close)
        self.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self._open.close()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        up_reader, up_writer = await asyncio.open_connection(HOST, self.tls_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with suppress(asyncio.CancelledError):  # the proxy is being closed
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))


async def _pump(reader, writer):
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
