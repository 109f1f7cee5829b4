"""A proxy in front of Redis whose connections can be left half-open."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Final

from loop import Loop

HOST: Final = "127.0.0.1"
FORGOTTEN_S: Final = 25.0
"""A half-open connection is torn down after this: longer than any client's timeout."""


class _Link:
    """One client's connection, and ours to the server on its behalf."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.frozen = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.frozen:
                    await asyncio.sleep(FORGOTTEN_S)
                    break
                writer.write(data)
                await writer.drain()
        self.abort()

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class RedisProxy:
    """Passes everything on; where the server is away, it is away too."""

    def __init__(self, loop: Loop, server_port: int) -> None:
        self._loop = loop
        self._server_port = server_port
        self._links: set[_Link] = set()
        self._server = loop.run(asyncio.start_server(self._serve, HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def leave_half_open(self, chance: random.Random, share: float) -> None:
        """Let about *share* of the connections carry nothing any more, and stay open."""

        def freeze() -> None:
            for link in self._links:
                link.frozen = link.frozen or chance.random() < share

        self._loop.call(freeze)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(HOST, self._server_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, upstream[1])
        self._links.add(link)
        try:
            with suppress(asyncio.CancelledError):  # the run is over
                await asyncio.gather(link.pump(reader, upstream[1]), link.pump(upstream[0], writer))
        finally:
            self._links.discard(link)
            link.abort()
