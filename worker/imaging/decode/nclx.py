"""Read the colour space that an AVIF or HEIC names by numbers (ISO/IEC 14496-12, 12.1.5)."""

import struct
from typing import Final

from worker.imaging.decode.cicp import ColourSpace, Numbers
from worker.imaging.decode.iso_boxes import primary_properties

_UNSPECIFIED: Final = 2
_SRGB: Final = Numbers(1, 13)
"""What a reader takes for unspecified numbers (ISO/IEC 23000-22, 7.3.6.4)."""


def colour_space(data: bytes) -> ColourSpace | None:
    """Return the colour space in the `colr` box of the primary image, or None without one.

    The matrix and the range do not matter: the decoder has applied them.
    """
    named = {
        (*struct.unpack_from(">HH", each, 8),)
        for each in primary_properties(data)
        if each[:8] in (b"colrnclx", b"colrnclc") and len(each) >= 12  # noqa: PLR2004 - two numbers
    }
    if len(named) != 1:  # tiles or further images that contradict each other
        return None
    primaries, transfer = named.pop()
    return ColourSpace(
        f"{primaries}/{transfer}",
        Numbers(
            _SRGB.primaries if primaries == _UNSPECIFIED else primaries,
            _SRGB.transfer if transfer == _UNSPECIFIED else transfer,
        ),
    )
