"""The check of a white background.

How far a subject strays and how dark it makes the white beside it depends on the format. The
figures are from hard-textured and soft-edged discs; see ADR 0075.
"""

import struct
from dataclasses import dataclass
from typing import Final

from PIL import JpegImagePlugin

from worker.imaging.compliance.inspection import Inspection, border_least
from worker.imaging.compliance.jpeg_quality import estimated_quality
from worker.imaging.compliance.strays import Strays, find_strays
from worker.imaging.compliance.types import Outcome, judged, not_possible
from worker.imaging.types import RgbImage

BORDER_ONLY: Final = "without a mask, only the border of the image was measured"
_WHITE: Final = 255


@dataclass(frozen=True)
class Near:
    """Limits for pixels beside the mask."""

    least: int
    """No pixel is below this value."""
    dark_share: float
    """At most this share of the pixels within the distance is below `strays.DARK_BELOW`."""


@dataclass(frozen=True)
class Rule:
    """What counts as a white background in a format."""

    block_px: int
    distance_px: int
    """From the mask; beyond it, every pixel reaches the level."""
    level: int
    near: Near


EXACT: Final = Rule(block_px=8, distance_px=0, level=_WHITE, near=Near(_WHITE, 0.0))
LOSSY: Final = Rule(block_px=16, distance_px=32, level=250, near=Near(100, 0.06))
"""Of WebP and AVIF, whose white is off by a few levels everywhere."""
_FULL: Final = (
    (95, Near(180, 0.001)),
    (90, Near(180, 0.03)),
    (80, Near(130, 0.15)),
    (70, Near(85, 0.22)),
    (0, Near(40, 0.3)),
)
_SUBSAMPLED: Final = ((90, Near(115, 0.045)), (70, Near(95, 0.08)), (0, Near(70, 0.12)))
"""Least quality of a JPEG, and the limits beside the mask; colours stray at any quality if their
resolution is reduced."""


def white_background(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check that the background is white, as far as the format can keep it."""
    rule = rule_of(found)
    pixels = _opaque(found)
    if found.mask is None:
        return _by_border(found, pixels, rule)
    strays = find_strays(
        pixels,
        found.mask,
        block_px=rule.block_px,
        distance_px=rule.distance_px,
        level=rule.level,
        share=rule.near.dark_share,
    )
    faults = _faults(strays, rule)
    return judged(is_met=not faults, value=_value(strays), reason="; ".join(faults))


def rule_of(found: Inspection) -> Rule:
    """Return the rule for the format, sampling and quality of a file."""
    header = found.header
    if isinstance(header, JpegImagePlugin.JpegImageFile):
        is_full = header.layers == 1 or JpegImagePlugin.get_sampling(header) == 0
        quality = estimated_quality(header) or 0
        near = next(
            limits for least, limits in (_FULL if is_full else _SUBSAMPLED) if quality >= least
        )
        return Rule(8, 12, _WHITE, near) if is_full else Rule(16, 24, _WHITE, near)
    is_lossy = found.format == "avif" or (found.format == "webp" and _is_lossy_webp(found.data))
    return LOSSY if is_lossy else EXACT


def _is_lossy_webp(data: bytes) -> bool:
    """Return whether a WebP has a lossy image (RFC 9649, section 2.3)."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"VP8 ":
            return True
        at += 8 + length + length % 2
    return False


def _opaque(found: Inspection) -> RgbImage:
    """Return the colours, black where the image is not opaque: transparent is not white."""
    if found.alpha is None:
        return found.pixels
    pixels = found.pixels.copy()
    pixels[found.alpha < _WHITE] = 0
    return pixels


def _by_border(found: Inspection, pixels: RgbImage, rule: Rule) -> Outcome:
    if found.context.mask is not None:
        return not_possible("the mask has another size than the image")
    least = border_least(pixels)
    if least < rule.level:
        return Outcome("failed", least, f"the border is not white: {least}; {BORDER_ONLY}")
    return Outcome("passed", least, BORDER_ONLY)


def _faults(strays: Strays, rule: Rule) -> list[str]:
    faults = []
    if strays.far_px:
        where = f"beyond {rule.distance_px} px of" if rule.distance_px else "apart from"
        faults.append(f"{strays.far_px} pixels {where} the subject are not white")
    if strays.near_least < rule.near.least:
        faults.append(f"a pixel beside the subject is {strays.near_least}")
    if strays.near_dark_share > rule.near.dark_share:
        faults.append(f"{strays.near_dark_share:.1%} of the pixels beside the subject are dark")
    return faults


def _value(strays: Strays) -> list[float]:
    """Return the pixels beyond the distance, and least value and dark share beside the subject."""
    return [strays.far_px, strays.near_least, round(strays.near_dark_share, 4)]
