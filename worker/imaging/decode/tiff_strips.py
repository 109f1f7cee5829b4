"""Check the strips or tiles of a TIFF: whether all are there, and the checksums of deflate."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from worker.imaging.decode.damage import Findings
from worker.imaging.decode.tiff import tag, values

_DEFLATE: Final = (8, 32946)
_IN_PLANES: Final = 2
_HEADER_BYTES: Final = 8
_BLOCK_BYTES: Final = 2**20
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTE_COUNTS = 322, 323, 324, 325
WRONG_CHECKSUM: Final = "a checksum does not match: pixels may be wrong"


@dataclass(frozen=True)
class _Strips:
    """Where the pixels are; tiles count as strips that do not span the width."""

    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    needed: int
    """Number of strips that the size of the image requires."""
    strip_bytes: int
    """Size of a whole strip before compression."""


def check_strips(image: ImageFile, data: bytes) -> Findings:
    """Return what is wrong with the strips of *image*, an opened TIFF, the file *data*."""
    strips = _strips(image)
    if strips is None:
        return Findings()
    present = sum(1 for offset in strips.offsets[: strips.needed] if offset >= _HEADER_BYTES)
    if lacking := strips.needed - present:
        return Findings(damage=(f"{lacking} of {strips.needed} strips of pixels are missing",))
    if tag(image, Tag.Compression, 1) in _DEFLATE and not all(
        _is_right(data[offset : offset + length], strips.strip_bytes)
        for offset, length in zip(strips.offsets, strips.lengths, strict=False)
    ):
        return Findings(damage=(WRONG_CHECKSUM,))
    return Findings()


def _strips(image: ImageFile) -> _Strips | None:
    """Return the strips, or None if the tags that describe them make no sense."""
    width, height = tag(image, Tag.ImageWidth, 0), tag(image, Tag.ImageLength, 0)
    across, down = tag(image, _TILE_WIDTH, 0), tag(image, _TILE_LENGTH, 0)
    offsets, lengths = _numbers(image, _TILE_OFFSETS), _numbers(image, _TILE_BYTE_COUNTS)
    if not offsets:
        across, down = width, min(tag(image, Tag.RowsPerStrip, height), height)
        offsets = _numbers(image, Tag.StripOffsets)
        lengths = _numbers(image, Tag.StripByteCounts)
    if min(width, height, across, down) < 1 or not offsets:
        return None
    channels = tag(image, Tag.SamplesPerPixel, 1)
    planes = channels if tag(image, Tag.PlanarConfiguration, 1) == _IN_PLANES else 1
    needed = -(-width // across) * -(-height // down) * planes
    bits = across * (channels // planes) * tag(image, Tag.BitsPerSample, 1)
    return _Strips(offsets, lengths, needed, -(-bits // 8) * down)


def _numbers(image: ImageFile, number: int) -> tuple[int, ...]:
    return tuple(value for value in values(image, number) if isinstance(value, int))


def _is_right(strip: bytes, strip_bytes: int) -> bool:
    """Return whether the checksum of a strip is right; one that is not complete has none."""
    try:
        for count, block in enumerate(_inflated(strip)):
            if count * _BLOCK_BYTES + len(block) > strip_bytes:
                return True  # decoders do not read further
    except zlib.error:
        return False
    return True


def _inflated(strip: bytes) -> Iterator[bytes]:
    """Yield blocks of the content of a strip.

    Raises:
        zlib.error: If it is damaged.
    """
    inflate, rest = zlib.decompressobj(), strip
    while not inflate.eof:
        block = inflate.decompress(rest, _BLOCK_BYTES)
        rest = inflate.unconsumed_tail
        if not block and not rest:
            return
        yield block
