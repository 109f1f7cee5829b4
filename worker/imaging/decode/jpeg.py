"""Decode a plain JPEG file and read the decoder's warnings; repair of truncated files."""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import simplejpeg

from shared.errors import ImageTooLarge
from worker.imaging.decode.damage import TRUNCATED, Findings
from worker.imaging.decode.jpeg_layout import (
    END,
    START_OF_SCAN,
    Layout,
    lacks_components,
    lacks_scans,
    read_layout,
    tidied,
)
from worker.imaging.types import RgbImage

_BETWEEN_SCANS: Final = (b"\xff\xc4", b"\xff\xcc", b"\xff\xda")
"""Markers of what comes between two scans: tables, conditions of arithmetic coding, the scan."""

MAX_SCANS: Final = 100
"""Encoders write up to about 64. Each scan costs a pass over the image, however short it is:
20 kB of empty scans would keep a thread busy for minutes."""

NO_END: Final = "the end marker is missing; all pixels are there"
IRREGULAR: Final = "irregular header or padding; all pixels are there"

_LONGEST_SEGMENT: Final = 65_535
_PROBES: Final = (b"\x55" * 64, b"\xaa" * 64)
_CAUSES: Final = {
    "premature end": "it ends before the last row",
    "extraneous bytes": "it goes on after the last row",
    "instead of RST": "a restart marker is missing",
    "bad Huffman code": "it holds an invalid code",
    "bad arithmetic code": "it holds an invalid code",
}
"""Part of a warning of libjpeg -> what it says about the pixel data."""


@dataclass(frozen=True)
class Read:
    """What the fast decoder made of a file."""

    pixels: RgbImage | None
    """None if it could not decode the file without a warning."""
    layout: Layout | None
    findings: Findings


def check_scans(data: bytes) -> None:
    """Reject a file with so many scans that decoding would take minutes.

    Raises:
        ImageTooLarge: With the limit and the actual number.
    """
    found = sum(1 for _ in START_OF_SCAN.finditer(data))
    if found > MAX_SCANS:
        raise ImageTooLarge(f"JPEG: {found} scans; the limit is {MAX_SCANS}")


def read(data: bytes, colours: str) -> Read:
    """Decode *data* to ``(H, W, channels)`` uint8 and find out whether all pixels are there.

    Uses the same library and settings as Pillow (exact DCT, smooth upsampling), so the pixels are
    the same; it is faster because it copies less, and it returns the warnings, which Pillow drops.

    Args:
        data: A whole file.
        colours: ``RGB`` for a YCbCr, RGB or grey file; ``GRAY`` or ``CMYK`` for a file of these.
    """
    layout = read_layout(data)
    pixels = _decoded(data, colours)
    if layout is None:
        return Read(pixels if isinstance(pixels, np.ndarray) else None, None, Findings())
    if isinstance(pixels, np.ndarray):
        return Read(pixels, layout, _missing(data, layout, pixels, colours))
    tidy = tidied(data, layout)
    repaired_pixels = _decoded(tidy, colours)
    if isinstance(repaired_pixels, np.ndarray):
        notes = (IRREGULAR if layout.has_end else NO_END,)
        missing = _missing(data, layout, repaired_pixels, colours)
        findings = missing if missing.damage else Findings(notes) + missing
        return Read(repaired_pixels, layout, findings)
    if isinstance(_decoded(tidy, colours, strict=False), str):  # an error, not a warning
        return Read(None, layout, Findings())
    return Read(None, layout, Findings(damage=(_words(repaired_pixels, layout),)))


def repaired(data: bytes) -> tuple[bytes, bytes]:
    """Return two repairs of a truncated file that make it decodable, the better one first.

    Missing rows come out grey; missing scans are left out.
    """
    # The first repair appends enough end markers to complete any truncated segment. If that comes
    # between two scans, the markers make it invalid; the second repair cuts it off instead.
    last = max(data.rfind(marker) for marker in _BETWEEN_SCANS)
    return data + END * (_LONGEST_SEGMENT // len(END) + 1), data[:last] + END


def _decoded(data: bytes, colours: str, *, strict: bool = True) -> RgbImage | str:
    """Return the pixels, or the text of the first error or, if *strict*, of the first warning."""
    try:
        return cast("RgbImage", simplejpeg.decode_jpeg(data, colours, strict=strict))
    except ValueError as err:
        return str(err)


def _words(warning: str, layout: Layout) -> str:
    if not layout.has_end:
        return TRUNCATED
    causes = (cause for part, cause in _CAUSES.items() if part in warning)
    cause = next(causes, None)
    return f"the pixel data is damaged: {cause}" if cause else f"the file is damaged ({warning})"


def _missing(data: bytes, layout: Layout, pixels: RgbImage, colours: str) -> Findings:
    """Return what is missing although the decoder does not warn."""
    if layout.is_arithmetic and not _is_complete(data, layout, pixels, colours):
        return Findings(damage=(_words("premature end", layout),))
    if not layout.has_end and lacks_scans(data, layout):
        return Findings(damage=(TRUNCATED,))
    if lacks_components(data, layout):
        return Findings(damage=("the pixel data is damaged: a colour channel is missing",))
    return Findings()


def _is_complete(data: bytes, layout: Layout, pixels: RgbImage, colours: str) -> bool:
    """Return whether the pixels in arithmetic coding were decoded from the file to the last one.

    The decoder reads zeros after the end of the data without a warning, so that all rows come out
    of half a file. If the data is complete, other bytes after it change the last unit at most.
    """
    height, width = pixels.shape[:2]
    across, down = layout.unit_px
    # Smooth upsampling changes one pixel more.
    left, top = (width - 1) // across * across - 1, (height - 1) // down * down - 1
    for probe in _PROBES:
        other = _decoded(data[: layout.end_at] + probe + END, colours, strict=False)
        if isinstance(other, str):
            return False
        changed = (other != pixels).any(axis=2)
        if changed[: max(top, 0)].any() or changed[:, : max(left, 0)].any():
            return False
    return True
