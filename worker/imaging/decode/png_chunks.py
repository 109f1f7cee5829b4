"""Check the chunks of a PNG file, and repair those that do not matter for the pixels.

Pillow refuses a file for a wrong checksum in a text, does not check the checksums of the pixels,
and does not say that the end is missing. So the chunks are checked here, and Pillow reads a file in
which only the pixels can be wrong.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from worker.imaging.decode.damage import Findings

_SIGNATURE_BYTES: Final = 8
_HEAD: Final = struct.Struct(">I4s")
_CHECK_BYTES: Final = 4
_TYPE: Final = re.compile(rb"[A-Za-z]{4}")
_CHANGE_PIXELS: Final = frozenset(
    {b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"sBIT", b"eXIf"}
)
"""Ancillary chunks that decide about transparency, colours or orientation."""

NO_END: Final = "the end chunk is missing; all pixels are there"


@dataclass(frozen=True)
class Checked:
    """A PNG file whose chunks have been checked."""

    data: bytes
    """The file, repaired if necessary: each chunk that is left has a right checksum, or is the
    header or the palette."""
    findings: Findings
    lacks_end: bool
    """Whether the file ends before its end chunk. If its pixels can be decoded, they are whole."""


@dataclass(frozen=True)
class Chunk:
    """A chunk as it is in the file."""

    kind: bytes
    content: memoryview
    raw: memoryview
    """The whole chunk as it is in the file."""
    is_cut: bool
    """Whether the file ends before the end of this chunk."""

    @property
    def is_valid(self) -> bool:
        """Whether the chunk is whole and its checksum is right."""
        check = zlib.crc32(self.content, zlib.crc32(self.kind))
        return not self.is_cut and check == int.from_bytes(self.raw[-_CHECK_BYTES:], "big")

    @property
    def is_ancillary(self) -> bool:
        """Whether decoders may ignore the chunk."""
        return self.kind[:1].islower()

    @property
    def name(self) -> str:
        """The kind as text."""
        return self.kind.decode("ascii")


def check(data: bytes) -> Checked:
    """Return *data* with its chunks checked; *data* itself if they are all right."""
    found = list(chunks(data))
    kinds = [chunk.kind for chunk in found]
    lacks_end = b"IEND" not in kinds or found[kinds.index(b"IEND")].is_cut
    invalid = [chunk for chunk in found if not chunk.is_valid]
    if b"IDAT" not in kinds or not (invalid or lacks_end):
        return Checked(data, Findings(), lacks_end=False)
    parts = [memoryview(data)[:_SIGNATURE_BYTES]]
    for chunk in found:
        parts += _repaired(chunk)
    if lacks_end:
        parts.append(memoryview(_written(b"IEND", b"")))
    return Checked(b"".join(parts), _findings(invalid), lacks_end)


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to the end chunk, the end of the file, or what is no chunk."""
    view, at = memoryview(data), _SIGNATURE_BYTES
    while at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        if not _TYPE.fullmatch(kind):
            return
        start = at + _HEAD.size
        end = start + length + _CHECK_BYTES
        yield Chunk(kind, view[start : start + length], view[at:end], end > len(data))
        if kind == b"IEND":
            return
        at = end


def _repaired(chunk: Chunk) -> list[memoryview]:
    """Return what a decoder should read in place of *chunk*."""
    if chunk.is_valid:
        return [chunk.raw]
    if chunk.kind == b"IDAT" or (chunk.kind in _CHANGE_PIXELS and not chunk.is_cut):
        # What is left of the pixels. Encoders that edit a chunk may forget its checksum, so a
        # transparent colour or a profile is more likely right than wrong.
        return [memoryview(_written(chunk.kind, bytes(chunk.content)))]
    if chunk.is_ancillary or chunk.kind == b"IEND":
        return []
    return [chunk.raw]  # the decoder refuses the file


def _written(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return _HEAD.pack(len(content), kind) + content + check.to_bytes(_CHECK_BYTES, "big")


def _findings(invalid: list[Chunk]) -> Findings:
    wrong = [chunk for chunk in invalid if not chunk.is_cut]
    other = sorted({chunk.name for chunk in wrong if chunk.is_ancillary})
    ignored = [name for name in other if name.encode() not in _CHANGE_PIXELS]
    used = [name for name in other if name.encode() in _CHANGE_PIXELS]
    notes = (f"wrong checksum in {', '.join(ignored)}; left out",) if ignored else ()
    doubts = (f"wrong checksum in {', '.join(used)}; used all the same",) if used else ()
    is_damaged = any(chunk.kind == b"IDAT" for chunk in wrong)
    damage = ("wrong checksum in IDAT: pixels may be wrong",) if is_damaged else ()
    return Findings(notes, doubts, damage)
