"""Read the size of an image from its header alone, without any C library."""

import io
import struct
from typing import Final, NamedTuple

from shared.errors import UndecodableImage
from worker.imaging.decode.files import opened
from worker.imaging.decode.iso_boxes import all_boxes
from worker.imaging.decode.limits import Limits
from worker.imaging.decode.sniff import Format, sniff

_MAX_BOXES: Final = 10_000


class Header(NamedTuple):
    """Format and size that a file declares."""

    width: int
    """Columns, in pixels, before EXIF rotation except for TIFF. For a cropped AVIF or HEIC, the
    decoded columns; the image may come out smaller."""
    height: int
    """Rows, in pixels; see `width`."""
    format: Format


def peek(data: bytes, limits: Limits) -> Header:
    """Read the header of *data*, without decoding or allocating any pixels.

    Raises:
        ImageTooLarge: With the limit that was exceeded and the actual value.
        UnsupportedImage: An image of an unsupported format.
        UndecodableImage: Not an image, or a damaged header.
    """
    limits.check_bytes(len(data))
    image_format = sniff(data)
    width, height = _size(data, image_format)
    limits.check_size(width, height)
    return Header(width, height, image_format)


def _size(data: bytes, image_format: Format) -> tuple[int, int]:
    # libwebp allocates the canvas as soon as a file is opened, and libavif and libheif parse in C;
    # Pillow reads the headers of the other formats in Python, but refuses a PNG for its texts.
    if image_format == "PNG":
        return _png_size(data)
    if image_format == "WEBP":
        return _webp_size(data)
    if image_format in ("AVIF", "HEIF"):
        return _iso_size(data, image_format)
    with opened(io.BytesIO(data), image_format) as image:
        return image.size


def _png_size(data: bytes) -> tuple[int, int]:
    """Return the size of a PNG file (ISO/IEC 15948, `IHDR`, which is always the first chunk)."""
    if data[8:16] != b"\0\0\0\x0dIHDR" or len(data) < 24:  # noqa: PLR2004 - the end of the size
        raise UndecodableImage("PNG: no image size in the header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the canvas size of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    head = data[:30].ljust(30, b"\0")
    match head[12:16]:
        case b"VP8X":
            low, high = head[24:27], head[27:30]
            return int.from_bytes(low, "little") + 1, int.from_bytes(high, "little") + 1
        case b"VP8L" if head[20] == 0x2F:  # noqa: PLR2004 - the signature of VP8L
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise UndecodableImage("WEBP: no image size in the header")


def _iso_size(data: bytes, image_format: Format) -> tuple[int, int]:
    """Return the largest size that an AVIF or HEIC file declares (ISO/IEC 23008-12, `ispe`).

    Tiles and thumbnails declare sizes too; the image itself is the largest.
    """
    sizes = [(0, 0)]
    for count, (kind, start, end) in enumerate(all_boxes(data)):
        if count > _MAX_BOXES:
            raise UndecodableImage(f"{image_format}: more than {_MAX_BOXES:,} boxes in the header")
        if kind == b"ispe" and end - start >= 12:  # noqa: PLR2004 - flags, width, height
            width, height = struct.unpack_from(">4xII", data, start)
            sizes.append((width, height))
        elif kind == b"tkhd" and end - start >= 8:  # noqa: PLR2004 - width, height at the end
            width, height = struct.unpack_from(">II", data, end - 8)
            sizes.append((width >> 16, height >> 16))  # 16.16 fixed point
    largest = max(sizes, key=lambda size: size[0] * size[1])
    if largest == (0, 0):
        raise UndecodableImage(f"{image_format}: no image size in the header")
    return largest
