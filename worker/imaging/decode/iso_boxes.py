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
        yield Box(kind, content, stop)
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
    found = _first_of_each_kind(data)
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


def _first_of_each_kind(data: bytes) -> dict[bytes, Box]:
    found: dict[bytes, Box] = {}
    for box in all_boxes(data):
        found.setdefault(box.kind, box)
    return found


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


def primary_data(data: bytes) -> tuple[int, int] | None:
    """Return start and end of the last part of the primary image's compressed data.

    None if it is in no place of its own: in a grid of tiles, or in an index of the header.
    """
    found = _first_of_each_kind(data)
    if b"pitm" not in found or b"iloc" not in found:
        return None
    try:
        return _located(data, found[b"iloc"], _number(data, found[b"pitm"].start))
    except (struct.error, IndexError):
        return None


def _located(data: bytes, iloc: Box, item: int) -> tuple[int, int] | None:
    """Return the last extent of an item (ISO/IEC 14496-12, 8.11.3)."""
    version = data[iloc.start]
    offset_size, length_size = data[iloc.start + 4] >> 4, data[iloc.start + 4] & 15
    base_size = data[iloc.start + 5] >> 4
    index_size = data[iloc.start + 5] & 15 if version else 0
    wide = 4 if version == 2 else 2  # noqa: PLR2004 - the version with numbers of 4 bytes
    fields = _Fields(data, iloc.start + 6, iloc.end)
    for _ in range(min(fields.take(wide), _MAX_ITEMS)):
        number = fields.take(wide)
        method = fields.take(2) & 15 if version else 0
        fields.take(2)  # the file that holds the data: this one
        base, place = fields.take(base_size), None
        for _ in range(min(fields.take(2), _MAX_ITEMS)):
            fields.take(index_size)
            start = base + fields.take(offset_size)
            length = fields.take(length_size)
            place = start, start + length
        if number == item:
            is_inside = place is not None and place[0] < place[1] <= len(data)
            return place if method == 0 and is_inside else None
    return None


class _Fields:
    """Numbers one after the other in a box."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def take(self, size: int) -> int:
        """Return the next number, of *size* bytes.

        Raises:
            IndexError: At the end of the box.
        """
        start, self._at = self._at, self._at + size
        if self._at > self._end:
            raise IndexError
        return int.from_bytes(self._data[start : self._at], "big")
