"""Colour spaces that files name by numbers (ITU-T H.273), such as the chunk `cICP` of a PNG."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from worker.imaging.decode.profiles import Chromaticity, Floats, rgb_profile

_D65: Final = (0.3127, 0.3290)
_PRIMARIES: Final[dict[int, tuple[Chromaticity, Chromaticity, Chromaticity]]] = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""ITU-T H.273, table 2: BT.709, BT.601, BT.2020 and Display P3, all with white D65."""


def _srgb(level: Floats) -> Floats:
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004


_CURVES: Final[dict[int, Callable[[Floats], Floats]]] = {
    # Displays show video with a gamma of 2.4 (BT.1886); editors treat BT.709 stills as sRGB.
    1: _srgb,
    4: lambda level: level**2.2,
    5: lambda level: level**2.8,
    6: _srgb,
    8: lambda level: level,
    13: _srgb,
    14: _srgb,
    15: _srgb,
}
"""ITU-T H.273, table 3: transfer function -> linear light of a level."""
_HDR: Final = {16: " (HDR, PQ)", 18: " (HDR, HLG)"}
_SAMPLES: Final = 4_096
_SIGNATURE_BYTES: Final = 8


class Numbers(NamedTuple):
    """The numbers of a colour space of RGB levels."""

    primaries: int
    transfer: int


@dataclass(frozen=True)
class ColourSpace:
    """The colour space that a file names."""

    name: str
    """All numbers as the file has them."""
    rgb: Numbers | None
    """None for levels that are no RGB or do not use the full range."""


def profile_of(space: ColourSpace, image_format: str) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the ICC profile of a colour space, and notes.

    None for a colour space that is not converted, which a note names.
    """
    if space.rgb and space.rgb.primaries in _PRIMARIES and space.rgb.transfer in _CURVES:
        curve = _CURVES[space.rgb.transfer](np.linspace(0, 1, _SAMPLES))
        return rgb_profile(_PRIMARIES[space.rgb.primaries], _D65, curve), ()
    kind = _HDR.get(space.rgb.transfer, "") if space.rgb else ""
    name = f"colour space {space.name} of the {image_format}{kind}"
    return None, (f"{name} is not converted; taken as sRGB",)


def colour_space_of_png(data: bytes) -> ColourSpace | None:
    """Return the colour space in the chunk `cICP` of a PNG (third edition, 11.3.2.6), or None."""
    named = _cicp(data)
    if named is None:
        return None
    primaries, transfer, matrix, is_full_range = named
    is_rgb = matrix == 0 and is_full_range == 1
    return ColourSpace("/".join(map(str, named)), Numbers(primaries, transfer) if is_rgb else None)


def _cicp(data: bytes) -> tuple[int, int, int, int] | None:
    """Return the numbers in the chunk, which is before the pixels, or None."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"cICP" and length == 4 and at + 12 <= len(data):  # noqa: PLR2004 - its length
            primaries, transfer, matrix, is_full_range = data[at + 8 : at + 12]
            return primaries, transfer, matrix, is_full_range
        if kind == b"IDAT":
            return None
        at += 12 + length
    return None
