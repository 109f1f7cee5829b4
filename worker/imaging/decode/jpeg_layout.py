"""Read the structure of a JPEG file: header segments, frame, scans and end."""

import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

START: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"
START_OF_SCAN: Final = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""Marker, length and number of components; they must agree, unlike in compressed data."""

_MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])")
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment, which decoders skip."""
_SCAN: Final = 0xDA
_QUANTISATION: Final = 0xDB
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1, 0xC9})
_ARITHMETIC: Final = frozenset({0xC9, 0xCA})
_JFIF: Final = 0xE0
_ADOBE: Final = 0xEE
_METADATA: Final = frozenset({*range(0xE0, 0xF0), 0xFE})
_COEFFICIENTS: Final = 64


@dataclass(frozen=True)
class Component:
    """One colour channel of a frame."""

    number: int
    across: int
    """Blocks per unit (MCU), horizontally."""
    down: int
    table: int
    """Number of its quantisation table."""


@dataclass(frozen=True)
class Layout:
    """The structure of a JPEG file, up to the end of its first image."""

    segments: tuple[tuple[int, bytes], ...]
    """Marker and content of each segment before the pixels; the last one starts the first scan."""
    frame: int
    """Marker of the frame: the coding process."""
    components: tuple[Component, ...]
    pixels_at: int
    """Where the compressed pixels start."""
    end_at: int
    """Where the end marker is, or the length of the file."""
    has_end: bool

    @property
    def is_arithmetic(self) -> bool:
        """Whether the pixels are in arithmetic coding."""
        return self.frame in _ARITHMETIC

    @property
    def unit_px(self) -> tuple[int, int]:
        """Width and height of a unit (MCU): its blocks are stored together."""
        if len(self.components) == 1:
            return 8, 8
        across = max(component.across for component in self.components)
        return 8 * across, 8 * max(component.down for component in self.components)

    def least_steps(self) -> list[int]:
        """Return the quantisation step of the mean of a block, of each component."""
        steps: dict[int, int] = {}
        for marker, content in self.segments:
            if marker == _QUANTISATION:
                steps |= _first_steps(content)
        return [steps.get(component.table, 1) for component in self.components]


def read_layout(data: bytes) -> Layout | None:
    """Return the structure of *data*; None if it has none that makes sense."""
    segments: list[tuple[int, bytes]] = []
    frame, at = 0, len(START)
    components: tuple[Component, ...] = ()
    while found := _MARKER.search(data, at):
        marker, start = found[1][0], found.end()
        if marker in _ALONE:
            at = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        content = data[start + 2 : start + length]
        if len(content) < length - 2 or length < 2:  # noqa: PLR2004 - the length counts itself
            return None
        at = start + length
        segments.append((marker, content))
        if marker in _FRAMES:
            frame, components = marker, _components(content)
        if marker == _SCAN:
            end = data.find(END, at)
            end_at = len(data) if end < 0 else end
            layout = Layout(tuple(segments), frame, components, at, end_at, end >= 0)
            return layout if components else None
    return None


def tidied(data: bytes, layout: Layout) -> bytes:
    """Return the same image without what decoders warn of and that does not matter for the pixels.

    Left out are metadata, stray bytes between segments, padding before the end marker and what
    follows it. Fields that decoders ignore get their usual values. A missing end marker is added.
    """
    parts = [START]
    for marker, content in layout.segments:
        if kept := _tidied_segment(marker, content, layout):
            parts.append(struct.pack(">BBH", 0xFF, marker, len(kept) + 2) + kept)
    pixels = data[layout.pixels_at : layout.end_at]
    padding = len(pixels) - len(pixels.rstrip(b"\0"))
    if padding > 1:
        # After 0xFF, one zero is part of the data.
        pixels = pixels[:-padding] + b"\0" * pixels[:-padding].endswith(b"\xff")
    return b"".join([*parts, pixels, END])


def lacks_scans(data: bytes, layout: Layout) -> bool:
    """Return whether the file ends before the last scan: some bits of coefficients never come."""
    # Coefficient -> lowest bit that has been sent, of each component.
    bits = {component.number: [-1] * _COEFFICIENTS for component in layout.components}
    for numbers, first, last, low in _scans(data, layout):
        for number in numbers:
            if number in bits:
                bits[number][first : last + 1] = [low] * (last + 1 - first)
    return any(low != 0 for lows in bits.values() for low in lows)


def lacks_components(data: bytes, layout: Layout) -> bool:
    """Return whether a component has no scan at all."""
    missing = {component.number for component in layout.components}
    for numbers, _, _, _ in _scans(data, layout):
        missing.difference_update(numbers)
        if not missing:
            return False
    return True


def _scans(data: bytes, layout: Layout) -> Iterator[tuple[list[int], int, int, int]]:
    """Yield components, first and last coefficient and lowest bit of each scan."""
    later = START_OF_SCAN.finditer(data, layout.pixels_at, layout.end_at)
    contents = (data[at.start() + 4 : at.start() + 8 + 2 * data[at.start() + 4]] for at in later)
    for content in itertools.chain([layout.segments[-1][1]], contents):
        count = content[0]
        first, last, bits = content[1 + 2 * count : 4 + 2 * count].ljust(3, b"\0")
        if layout.frame in _SEQUENTIAL:
            first, last, bits = 0, _COEFFICIENTS - 1, 0
        yield list(content[1 : 1 + 2 * count : 2]), first, min(last, 63), bits & 15


def _components(content: bytes) -> tuple[Component, ...]:
    """Return the components in a frame header (ITU-T T.81, B.2.2)."""
    found = [content[at : at + 3] for at in range(6, len(content) - 2, 3)]
    return tuple(Component(each[0], each[1] >> 4, each[1] & 15, each[2]) for each in found)


def _first_steps(content: bytes) -> dict[int, int]:
    """Return the first step of each table in a segment of them (ITU-T T.81, B.2.4.1)."""
    steps, at = {}, 0
    while at + 3 <= len(content):
        size, number = 1 + (content[at] >> 4 != 0), content[at] & 15
        steps[number] = int.from_bytes(content[at + 1 : at + 1 + size], "big")
        at += 1 + _COEFFICIENTS * size
    return steps


def _tidied_segment(marker: int, content: bytes, layout: Layout) -> bytes:
    if marker == _JFIF and content.startswith(b"JFIF\0"):
        return content[:5] + b"\1\1" + content[7:]
    if marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12:  # noqa: PLR2004
        usual = 1 if len(layout.components) == 3 else 2  # noqa: PLR2004 - three channels: YCbCr
        return content[:11] + bytes([content[11] if content[11] <= 2 else usual])  # noqa: PLR2004
    if marker in _METADATA:
        return b""
    if marker == _SCAN and layout.frame in _SEQUENTIAL:
        return content[:-3] + bytes([0, _COEFFICIENTS - 1, 0])
    return content
