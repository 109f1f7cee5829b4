"""A proxy in front of S3 that can refuse, delay and lose responses, and records every write."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from http_message import Message, read_message

if TYPE_CHECKING:
    from support.loop import Loop

HOST: Final = "127.0.0.1"
STALL_S: Final = 3.5
"""Delay of a stalled request: once to twice the workers' read timeout in these runs."""
_BUSY_BODY: Final = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>-</Message></Error>"


class S3FaultKind(StrEnum):
    """What happens to a request."""

    REFUSED = "refused"
    STALLED = "stalled"
    REPLY_LOST = "reply lost"


@dataclass(frozen=True)
class S3Fault:
    """A fault that affects a share of all requests."""

    kind: S3FaultKind
    share: float
    """Share of the requests that are affected, 0 to 1."""
    chance: random.Random


class S3Proxy:
    """Forward requests, with one connection to the server per client connection."""

    def __init__(self, loop: Loop, server_port: int) -> None:
        self._server_port = server_port
        self.fault: S3Fault | None = None
        """The current fault; may be set from any thread."""
        self.writes: dict[str, list[str]] = {}
        """The ETags of all successful writes, by path of the object."""
        self.affected = 0
        """Number of requests that met a fault."""
        self._server = loop.run(asyncio.start_server(self._serve, HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(HOST, self._server_port)
        try:
            while (request := await read_message(reader, continue_to=writer)) is not None:
                response = await self._respond(request, upstream)
                if response is None:
                    break
                writer.write(response)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either end closed the connection, or the run is over
        finally:
            upstream[1].transport.abort()
            writer.transport.abort()

    async def _respond(
        self, request: Message, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> bytes | None:
        """Return the response for the client; None closes its connection without one."""
        fault = self._choose_fault()
        if fault is S3FaultKind.REFUSED:
            return _busy(with_body=request.method != "HEAD")
        if fault is S3FaultKind.STALLED:
            await asyncio.sleep(STALL_S)
        upstream[1].write(request.raw)
        response = await read_message(upstream[0], bodiless=request.method == "HEAD")
        if response is None:
            return None
        self._note(request, response)
        return None if fault is S3FaultKind.REPLY_LOST else response.raw

    def _choose_fault(self) -> S3FaultKind | None:
        fault = self.fault
        if fault is None or fault.chance.random() >= fault.share:
            return None
        self.affected += 1
        return fault.kind

    def _note(self, request: Message, response: Message) -> None:
        if request.method == "PUT" and response.status == 200:
            path = unquote(request.target.partition("?")[0])
            self.writes.setdefault(path, []).append(response.fields.get("etag", "").strip('"'))


def _busy(*, with_body: bool) -> bytes:
    body = _BUSY_BODY if with_body else b""
    head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
