"""Read whole HTTP/1.1 requests and responses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One request or response."""

    start: tuple[str, str, str]
    fields: dict[str, str]
    """Header fields, with names in lower case."""
    raw: bytes
    """The whole message, to be forwarded."""

    @property
    def method(self) -> str:
        """Method of a request."""
        return self.start[0]

    @property
    def target(self) -> str:
        """Target of a request."""
        return self.start[1]

    @property
    def status(self) -> int:
        """Status code of a response."""
        return int(self.start[1])


async def read_message(
    reader: asyncio.StreamReader,
    *,
    bodiless: bool = False,
    continue_to: asyncio.StreamWriter | None = None,
) -> Message | None:
    """Read one message; return None at the end of the stream.

    Args:
        reader: The connection.
        bodiless: Whether this is the response to a HEAD request, which has no body.
        continue_to: The client, which gets `100 Continue` if it waits for that.
    """
    head = await _head(reader)
    if head is None:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    split = (line.partition(":") for line in lines if line)
    fields = {name.lower(): value.strip() for name, _, value in split}
    if "expect" in fields and continue_to is not None:
        continue_to.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = [line for line in lines if not line.lower().startswith("expect:")]
        head = "\r\n".join([first, *kept]).encode("latin-1")
    one, two, three = first.split(" ", 2)
    body = b"" if bodiless else await _body(reader, fields)
    return Message((one, two, three), fields, head + body)


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if fields.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    chunks = b""
    while True:
        size_line = await reader.readuntil(b"\r\n")
        size_bytes = int(size_line.partition(b";")[0], 16)
        chunks += size_line + await reader.readexactly(size_bytes + 2)
        if size_bytes == 0:
            return chunks
