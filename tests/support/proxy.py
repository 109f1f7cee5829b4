"""A TCP proxy that can make connections half-open, reset or slow, or that speaks TLS."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from support.loop import Loop

HOST = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 seconds: closing the socket sends a reset."""


class Proxy:
    """A proxy between clients and the server at *to_port*, running while the context is open.

    New connections go to `to_port`, which a test may change, as a failover does behind an address.
    `delay_s` delays each piece of data that the server sends, in seconds. With *tls*, a server-side
    `ssl.SSLContext`, clients must speak TLS.
    """

    def __init__(self, to_port, *, tls=None):
        self.delay_s = 0.0
        self.to_port = to_port
        self._tls = tls
        self._links = set()

    def __enter__(self):
        self._loop = Loop()
        self._server = self._loop.run(asyncio.start_server(self._serve, HOST, 0, ssl=self._tls))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self._loop.call(self._server.close)
        self._loop.close()

    @property
    def connections(self):
        """Number of connected clients whose connection is not frozen."""
        return sum(not link.frozen for link in list(self._links))

    def freeze(self, which=lambda: True):
        """Make open connections half-open: they stay open and carry no more data.

        *which* is called once per connection; only those for which it returns true are frozen.
        """
        self._each(lambda link: link.freeze() if which() else None)

    def reset(self):
        """Reset all open connections."""
        self._each(_Link.reset)

    def _each(self, action):
        self._loop.call(lambda: [action(link) for link in list(self._links)])

    async def _serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self.to_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, up_writer)
        self._links.add(link)
        try:
            with suppress(asyncio.CancelledError):  # the proxy is being closed
                await asyncio.gather(
                    link.pump(reader, up_writer, lambda: 0.0),
                    link.pump(up_reader, writer, lambda: self.delay_s),
                )
        finally:
            self._links.discard(link)
            link.abort()


class _Link:
    """A client's connection, and the matching connection to the server."""

    def __init__(self, *writers):
        self._writers = writers
        self.frozen = False

    async def pump(self, reader, writer, delay_s):
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.frozen:
                    await asyncio.Event().wait()
                await asyncio.sleep(delay_s())
                writer.write(data)
                await writer.drain()
        if not self.frozen:
            self.abort()

    def freeze(self):
        self.frozen = True

    def reset(self):
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def abort(self):
        for writer in self._writers:
            writer.transport.abort()
