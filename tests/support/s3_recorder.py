"""A proxy in front of S3 that lists all requests, and can keep some of them for ever."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import unquote

from support.http_message import read_message
from support.loop import Loop

HOST = "127.0.0.1"


class S3Recorder:
    """A proxy to the server at *to_port*, running while the context is open.

    `requests` lists method and path of every request, those that the store refuses included. One
    for which `holds(method, path)` is true is listed, sets `held` and is never passed on.
    """

    def __init__(self, to_port):
        self.requests = []
        self.holds = lambda method, path: False
        self.held = threading.Event()
        self._to_port = to_port
        self._never = asyncio.Event()

    def __enter__(self):
        self._loop = Loop()
        self._server = self._loop.run(asyncio.start_server(self._serve, HOST, 0))
        self.endpoint = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self._loop.call(self._server.close)
        self._loop.close()

    def paths(self, method):
        """Return the paths of all requests of this method, in their order."""
        return [path for each, path in list(self.requests) if each == method]

    async def _serve(self, reader, writer):
        server_reader, server_writer = await asyncio.open_connection(HOST, self._to_port)
        try:
            while (request := await read_message(reader, continue_to=writer)) is not None:
                path = unquote(request.target.partition("?")[0])
                self.requests.append((request.method, path))
                if self.holds(request.method, path):
                    self.held.set()
                    await self._never.wait()
                server_writer.write(request.raw)
                response = await read_message(server_reader, bodiless=request.method == "HEAD")
                if response is None:
                    break
                writer.write(response.raw)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either end closed the connection, or the test is over
        finally:
            server_writer.transport.abort()
            writer.transport.abort()
