"""Fast path for plain JPEG files, and repair of truncated ones."""

import re
from typing import Final, cast

import simplejpeg

from shared.errors import ImageTooLarge
from worker.imaging.types import RgbImage

END: Final = b"\xff\xd9"
"""End marker."""
_TABLES: Final = b"\xff\xc4"
_START_OF_SCAN: Final = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""Marker, length and number of components; they must agree, unlike in compressed data."""

MAX_SCANS: Final = 100
"""Encoders write up to about 64. Each scan costs a pass over the image, however short it is:
20 kB of empty scans would keep a thread busy for minutes."""

_LONGEST_SEGMENT: Final = 65_535


def check_scans(data: bytes) -> None:
    """Reject a file with so many scans that decoding would take minutes.

    Raises:
        ImageTooLarge: With the limit and the actual number.
    """
    found = sum(1 for _ in _START_OF_SCAN.finditer(data))
    if found > MAX_SCANS:
        raise ImageTooLarge(f"JPEG: {found} scans; the limit is {MAX_SCANS}")


def fast_rgb(data: bytes) -> RgbImage | None:
    """Decode a YCbCr, RGB or grey JPEG to ``(H, W, 3)`` uint8; return None on any warning.

    Uses the same library and settings as Pillow (exact DCT, smooth upsampling), so the pixels are
    the same; it is faster because it copies less. The caller falls back on Pillow after None.
    """
    try:
        return cast("RgbImage", simplejpeg.decode_jpeg(data, "RGB", strict=True))
    except ValueError:
        return None


def repaired(data: bytes) -> tuple[bytes, bytes]:
    """Return two repairs of a truncated file that make it decodable, the better one first.

    Missing rows come out grey; missing scans are left out.
    """
    # The first repair appends enough end markers to complete any truncated segment. If that is a
    # table between two scans, the markers make it invalid; the second repair cuts it off instead.
    return data + END * (_LONGEST_SEGMENT // len(END) + 1), data[: data.rfind(_TABLES)] + END
