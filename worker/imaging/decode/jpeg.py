"""The fast way for plain JPEG files, and what can be done for a torn one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import simplejpeg

from shared.errors import ImageTooLarge

if TYPE_CHECKING:
    from worker.imaging.types import RgbImage

_END: Final = b"\xff\xd9"
_TABLES: Final = b"\xff\xc4"
_START_OF_SCAN: Final = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""Marker, length and number of components, which agree: no chance hit in compressed data."""

MAX_SCANS: Final = 100
"""Encoders write up to about 64. Each scan costs a pass over the picture, however short it is:
20 kB of empty scans would keep a thread busy for minutes."""

_LONGEST_SEGMENT: Final = 65_535


def check_scans(data: bytes) -> None:
    """Refuse a file made to be slow.

    Raises:
        ImageTooLarge: Naming the limit and what was found.
    """
    found = sum(1 for _ in _START_OF_SCAN.finditer(data))
    if found > MAX_SCANS:
        raise ImageTooLarge(f"JPEG: {found} scans; the limit is {MAX_SCANS}")


def fast_rgb(data: bytes) -> RgbImage | None:
    """Decode a JPEG of YCbCr, RGB or grey to ``(H, W, 3)`` uint8, or return None.

    The same library and settings as Pillow's (exact DCT, smooth upsampling), so the same pixels;
    what is saved is the copying. None at any complaint: Pillow then has the say.
    """
    try:
        return cast("RgbImage", simplejpeg.decode_jpeg(data, "RGB", strict=True))
    except ValueError:
        return None


def with_end(data: bytes) -> bytes:
    """Return *data* with the end mark that is missing."""
    return data + _END


def mended(data: bytes) -> tuple[bytes, bytes]:
    """Return two ways to end a torn file such that a decoder shows what is there, the best first.

    Rows that were not reached come out grey; scans that were not, are left out.
    """
    # Enough end marks to get out of any segment that was cut. Where those were the tables between
    # two scans, the marks make a table that is refused, and the tables are left out.
    return data + _END * (_LONGEST_SEGMENT // len(_END) + 1), data[: data.rfind(_TABLES)] + _END
