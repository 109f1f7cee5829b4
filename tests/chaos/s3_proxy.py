"""A proxy in front of S3 that refuses, delays and loses responses, and records every write."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from support.http_message import Message, read_message

if TYPE_CHECKING:
    from support.loop import Loop

HOST: Final = "127.0.0.1"
STALL_S: Final = 3.5
"""Delay of a stalled request: once to twice the workers' read timeout in these runs."""
SLOW_S: Final = 1.0
"""Delay of a slow upload: half of the workers' read timeout in these runs."""


class S3FaultKind(StrEnum):
    """What happens to a request."""

    REFUSED = "refused"
    STALLED = "stalled"
    REPLY_LOST = "reply lost"
    UNIMPLEMENTED = "unimplemented"
    """Writes get 501 NotImplemented."""
    SLOW = "slow"
    """Writes take `SLOW_S` longer."""


WRITES_ONLY: Final = frozenset({S3FaultKind.UNIMPLEMENTED, S3FaultKind.SLOW})


@dataclass(frozen=True)
class S3Fault:
    """A fault that affects a share of all requests."""

    kind: S3FaultKind
    share: float
    """Share of the requests that are affected, 0 to 1."""
    chance: random.Random


@dataclass(frozen=True)
class Refusal:
    """An error response to every request of one kind for one object."""

    name: str
    is_write: bool
    """Whether writes are refused; else reads are."""
    status: int
    code: str


class S3Proxy:
    """Forward requests, with one connection to the server per client connection."""

    def __init__(self, loop: Loop, server_port: int) -> None:
        self._server_port = server_port
        self.fault: S3Fault | None = None
        """The current fault; may be set from any thread."""
        self.writes: dict[str, list[str]] = {}
        """The ETags of all successful writes, by path of the object."""
        self.written_s: dict[str, float] = {}
        """When each object was last written (monotonic clock), by path."""
        self.refusals: dict[str, Refusal] = {}
        """Objects that are always refused, by path."""
        self.hits: Counter[str] = Counter()
        """Number of requests that met a fault or a refusal, by kind."""
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
        if (refusal := self._refusal_of(request)) is not None:
            self.hits[refusal.name] += 1
            return _error(request, refusal.status, refusal.code)
        fault = self._choose_fault(request)
        if fault is S3FaultKind.REFUSED:
            return _error(request, 503, "SlowDown")
        if fault is S3FaultKind.UNIMPLEMENTED:
            return _error(request, 501, "NotImplemented")
        if fault in (S3FaultKind.STALLED, S3FaultKind.SLOW):
            await asyncio.sleep(STALL_S if fault is S3FaultKind.STALLED else SLOW_S)
        upstream[1].write(request.raw)
        response = await read_message(upstream[0], bodiless=request.method == "HEAD")
        if response is None:
            return None
        self._note(request, response)
        return None if fault is S3FaultKind.REPLY_LOST else response.raw

    def _refusal_of(self, request: Message) -> Refusal | None:
        found = self.refusals.get(_path(request))
        return found if found and found.is_write == (request.method == "PUT") else None

    def _choose_fault(self, request: Message) -> S3FaultKind | None:
        fault = self.fault
        if fault is None or fault.chance.random() >= fault.share:
            return None
        if fault.kind in WRITES_ONLY and request.method != "PUT":
            return None
        self.hits[fault.kind] += 1
        return fault.kind

    def _note(self, request: Message, response: Message) -> None:
        if request.method == "PUT" and response.status == 200:
            self.written_s[_path(request)] = time.monotonic()
            self.writes.setdefault(_path(request), []).append(
                response.fields.get("etag", "").strip('"')
            )


def _path(request: Message) -> str:
    return unquote(request.target.partition("?")[0])


def _error(request: Message, status: int, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>-</Message></Error>".encode()
    if request.method == "HEAD":
        body = b""
    fields = f"Content-Type: application/xml\r\nContent-Length: {len(body)}"
    return f"HTTP/1.1 {status} -\r\n{fields}\r\n\r\n".encode() + body
