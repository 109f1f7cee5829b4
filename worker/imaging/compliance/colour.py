"""Checks of colour space and transparency."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD

from shared.recipes.background import OPAQUE
from worker.imaging.compliance.inspection import Inspection
from worker.imaging.compliance.profile import is_srgb, profile_name
from worker.imaging.compliance.types import Outcome, judged
from worker.imaging.decode import nclx
from worker.imaging.decode.cicp import colour_space_of_png, profile_of
from worker.imaging.decode.iso_boxes import all_boxes

_MODES: Final = frozenset({"RGB", "RGBA", "RGBX", "P", "PA", "YCbCr"})
"""Pillow's modes of RGB files; a palette holds RGB, YCbCr is how TIFF stores a JPEG's RGB."""
_NAMES: Final = {"1": "black and white", "L": "grey", "LA": "grey", "LAB": "Lab"}
_BITS: Final = 8
_PNG_BITS_AT: Final = 24
_PNG_PALETTE: Final = 3
_INTEROPERABILITY: Final = 1
_ADOBE_RGB: Final = "R03"
"""Interoperability index of a camera's Adobe RGB (DCF 2.0)."""
_SRGB_PRIMARIES: Final = frozenset({1, 2})
"""ITU-T H.273: BT.709, which sRGB has too, and unspecified."""
_SRGB_TRANSFERS: Final = frozenset({1, 2, 6, 13})
"""Of BT.709 and BT.601, which readers take for sRGB, unspecified, sRGB."""


def colour_space(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check for sRGB or untagged RGB with 8 bits per channel."""
    faults = list(_faults(found))
    value = ", ".join(faults) or "sRGB"
    return judged(is_met=not faults, value=value, reason=f"{value} in place of sRGB with 8 bits")


def no_transparency(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check that every pixel is opaque."""
    alpha = found.alpha
    share = 0.0 if alpha is None else float(np.count_nonzero(alpha < OPAQUE)) / alpha.size
    reason = f"{share:.2%} of the pixels are transparent"
    return judged(is_met=share == 0, value=round(share, 6), reason=reason)


def _faults(found: Inspection) -> Iterator[str]:
    mode = found.header.mode
    bits = _bits(found)
    if bits > _BITS:
        yield f"{bits} bits"
    elif mode not in _MODES:
        yield _NAMES.get(mode, mode)
    yield from _profile_faults(found)


def _profile_faults(found: Inspection) -> Iterator[str]:
    info = found.header.info
    space = colour_space_of_png(found.data) if found.format == "png" else None
    named = profile_of(space, "PNG")[0] if space else None
    profile = named or info.get("icc_profile") or b""
    if found.header.mode in _MODES and not is_srgb(profile):
        yield profile_name(profile)
    if found.format == "avif" and not profile:
        yield from _avif_faults(found.data)
    if not profile and _interoperability(found.exif) == _ADOBE_RGB:
        yield "Adobe RGB"


def _interoperability(exif: Image.Exif) -> object:
    index = exif.get_ifd(IFD.Interop).get(_INTEROPERABILITY)
    return index.strip("\0 ") if isinstance(index, str) else index


def _avif_faults(data: bytes) -> Iterator[str]:
    space = nclx.colour_space(data)
    if space is None or space.rgb is None:
        return
    primaries, transfer = space.rgb
    if primaries not in _SRGB_PRIMARIES or transfer not in _SRGB_TRANSFERS:
        yield f"colours {primaries}/{transfer} of ITU-T H.273"


def _bits(found: Inspection) -> int:
    """Return the bits per channel of the file."""
    match found.format:
        case "png":
            bits, colour_type = found.data[_PNG_BITS_AT], found.data[_PNG_BITS_AT + 1]
            return _BITS if colour_type == _PNG_PALETTE else bits
        case "tiff":
            tags = getattr(found.header, "tag_v2", {})
            return int(max(np.ravel(tags.get(TiffImagePlugin.BITSPERSAMPLE, 1))))
        case "avif" | "heif":
            return max(
                (
                    max(found.data[start + 5 : end], default=_BITS)
                    for kind, start, end in all_boxes(found.data)
                    if kind == b"pixi"
                ),
                default=_BITS,
            )
        case _:
            return 16 if found.header.mode.startswith(("I", "F")) else _BITS
