"""A proxy in front of S3 that can refuse, stall and lose answers, and sees every write."""

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
"""Longer than the workers' read timeout in these runs, shorter than twice that."""
_BUSY_BODY: Final = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>-</Message></Error>"


class Weather(StrEnum):
    """What happens to requests."""

    REFUSED = "refused"
    STALLED = "stalled"
    REPLY_LOST = "reply lost"


@dataclass(frozen=True)
class Spell:
    """A time of bad weather."""

    weather: Weather
    share: float
    """Of the requests that it befalls."""
    chance: random.Random


class S3Proxy:
    """Passes requests on, one connection to the server for each of a client."""

    def __init__(self, loop: Loop, server_port: int) -> None:
        self._server_port = server_port
        self.spell: Spell | None = None
        """What the weather is now; set from any thread."""
        self.writes: dict[str, list[str]] = {}
        """Path of each object that was written, with the ETag of every write that succeeded."""
        self.befallen = 0
        """Requests that the weather has befallen."""
        self._server = loop.run(asyncio.start_server(self._serve, HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(HOST, self._server_port)
        try:
            while (request := await read_message(reader, continue_to=writer)) is not None:
                answer = await self._answer(request, upstream)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one end is gone, or the run is over
        finally:
            upstream[1].transport.abort()
            writer.transport.abort()

    async def _answer(
        self, request: Message, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> bytes | None:
        """Return what the client gets; None: it gets nothing and is cut off."""
        weather = self._weather()
        if weather is Weather.REFUSED:
            return _busy(with_body=request.method != "HEAD")
        if weather is Weather.STALLED:
            await asyncio.sleep(STALL_S)
        upstream[1].write(request.raw)
        answer = await read_message(upstream[0], bodiless=request.method == "HEAD")
        if answer is None:
            return None
        self._note(request, answer)
        return None if weather is Weather.REPLY_LOST else answer.raw

    def _weather(self) -> Weather | None:
        spell = self.spell
        if spell is None or spell.chance.random() >= spell.share:
            return None
        self.befallen += 1
        return spell.weather

    def _note(self, request: Message, answer: Message) -> None:
        if request.method == "PUT" and answer.status == 200:
            path = unquote(request.target.partition("?")[0])
            self.writes.setdefault(path, []).append(answer.fields.get("etag", "").strip('"'))


def _busy(*, with_body: bool) -> bytes:
    body = _BUSY_BODY if with_body else b""
    head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
