"""Read the boxes of an AVIF or HEIC file (ISO/IEC 14496-12), and the properties of its image."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

_CONTAINERS: Final = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0}
"""Boxes that contain the boxes of interest -> bytes before the first child box."""
_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 10_000
"""Most items whose properties are looked through."""


class Box(NamedTuple):
    """A box: its content is ``data[start:end]``."""

    kind: bytes
    start: int
    end: int
    """At most the end of the file."""
    is_cut: bool
    """Whether the file or the outer box ends before the end that this box declares."""


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes of ``data[start:end]``, without those inside them."""
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1 and content + 8 <= end:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        stop = end if length == 0 else min(start + length, end)
        if stop < content:
            return
        yield Box(kind, content, stop, length != 0 and start + length > end)
        start = stop


def all_boxes(data: bytes) -> Iterator[Box]:
    """Yield the boxes of *data* and those inside the containers of headers, outer ones first."""
    yield from _with_inner(data, 0, len(data), 0)


def _with_inner(data: bytes, start: int, end: int, depth: int) -> Iterator[Box]:
    for box in boxes(data, start, end):
        yield box
        if box.kind in _CONTAINERS and depth < _MAX_DEPTH:
            yield from _with_inner(data, box.start + _CONTAINERS[box.kind], box.end, depth + 1)


def primary_properties(data: bytes) -> list[bytes]:
    """Return the property boxes of the primary image, each with its type before the content.

    Those of all images if the file does not tell which ones belong to the primary image.
    """
    found: dict[bytes, Box] = {}
    for box in all_boxes(data):
        found.setdefault(box.kind, box)
    if b"ipco" not in found:
        return []
    listed = [
        box.kind + data[box.start : box.end]
        for box in boxes(data, found[b"ipco"].start, found[b"ipco"].end)
    ]
    numbers: list[int] = []
    if b"pitm" in found and b"ipma" in found:
        try:
            primary = _number(data, found[b"pitm"].start)
            numbers = _associated(data, found[b"ipma"], primary)
        except (struct.error, IndexError):
            numbers = []
    return [listed[n - 1] for n in numbers if 0 < n <= len(listed)] or listed


def _number(data: bytes, start: int) -> int:
    """Return the number of the primary item."""
    number: int = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)[0]
    return number


def _associated(data: bytes, ipma: Box, item: int) -> list[int]:
    """Return the numbers, from 1, of the properties of an item."""
    version, is_wide = data[ipma.start], data[ipma.start + 3] & 1
    (entries,) = struct.unpack_from(">I", data, ipma.start + 4)
    at = ipma.start + 8
    head = struct.Struct(">IB" if version else ">HB")
    size, essential = (2, 0x8000) if is_wide else (1, 0x80)
    for _ in range(min(entries, _MAX_ITEMS)):
        number, count = head.unpack_from(data, at)
        at += head.size
        if number == item:
            values = struct.unpack_from(f">{count}{'H' if is_wide else 'B'}", data, at)
            return [value & ~essential for value in values]
        at += size * count
    return []
