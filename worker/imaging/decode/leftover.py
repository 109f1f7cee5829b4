"""Find data that the decoder of a WebP, AVIF or HEIC does not need: a sign of damage.

These formats have no checksums, and their arithmetic decoders never warn. But after damage they
read other symbols than were written, and so reach the last pixel before the end of the data, or
never. Of an undamaged file they need the last bytes: with others, the pixels differ or cannot be
decoded.
"""

import io
from typing import Final

from PIL import Image

from shared.errors import ItemError
from worker.imaging.decode.damage import Findings
from worker.imaging.decode.files import opened
from worker.imaging.decode.iso_boxes import primary_data
from worker.imaging.decode.sniff import Format

DOUBT: Final = "the pixel data goes on after the last pixel, as it does after damage"

_PROBE_BYTES: Final = 64
"""Encoders leave up to 9 bytes at the end that decoders do not need."""
_LEAST_PROBES: Final = 4
"""Data shorter than this many probes is not checked: most of it would be changed."""
_BAND_ROWS: Final = 256
_RIFF_HEAD_BYTES: Final = 12
_CHUNK_HEAD_BYTES: Final = 8


def find_leftover(data: bytes, image: Image.Image, image_format: Format) -> Findings:
    """Return a doubt if *image* does not depend on the end of the compressed data.

    Args:
        data: A whole file of WebP, AVIF or HEIC.
        image: Its pixels as loaded, before any conversion.
        image_format: Of the file.
    """
    place = _webp_data(data) if image_format == "WEBP" else primary_data(data)
    if place is None or place[1] - place[0] < _LEAST_PROBES * _PROBE_BYTES:
        return Findings()
    end = place[1]
    probe = bytes(each ^ 0x55 for each in data[end - _PROBE_BYTES : end])
    changed = b"".join([data[: end - _PROBE_BYTES], probe, data[end:]])
    try:
        with opened(io.BytesIO(changed), image_format) as other:
            other.load()
            is_needed = _differ(image, other)
    except ItemError:
        return Findings()
    return Findings() if is_needed else Findings(doubts=(DOUBT,))


def _differ(one: Image.Image, other: Image.Image) -> bool:
    if (one.size, one.mode) != (other.size, other.mode):
        return True
    for bottom in range(one.height, 0, -_BAND_ROWS):  # the end of the data is at the bottom
        band = (0, max(bottom - _BAND_ROWS, 0), one.width, bottom)
        if one.crop(band).tobytes() != other.crop(band).tobytes():
            return True
    return False


def _webp_data(data: bytes) -> tuple[int, int] | None:
    """Return start and end of the pixels (RFC 9649, section 2); None for an animation.

    libwebp refuses damaged animations.
    """
    at = _RIFF_HEAD_BYTES
    while at + _CHUNK_HEAD_BYTES <= len(data):
        kind = data[at : at + 4]
        start = at + _CHUNK_HEAD_BYTES
        length = int.from_bytes(data[at + 4 : start], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return start, min(start + length, len(data))
        at = start + length + length % 2
    return None
