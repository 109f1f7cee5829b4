"""Encode pixels as PNG files, and build their text chunks.

General encoders try five filters on every row and a slow deflate, which takes most of an image's
CPU time outside the network. Here the level chooses both. numpy filters rows in bands that fit the
cache; filter and deflate release the interpreter lock, so threads encode images in parallel.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from zlib_ng import zlib_ng

from shared.errors import InvalidOption
from shared.job.png_text import keyword_bytes
from worker.imaging.encode.png_filters import Filter, adaptive, up
from worker.imaging.types import NO_METADATA, SourceMetadata

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_CHUNK_BYTES: Final = 2**31 - 1
"""PNG, 5.3: the largest number in a PNG file."""

_PERCEPTUAL: Final = b"\0"
"""Rendering intent of the sRGB chunk."""
_METRES_PER_INCH: Final = 0.0254
_COLOUR_TYPES: Final = {1: 0, 3: 2, 4: 6}
"""PNG, 11.2.1, by number of channels: greyscale, truecolour, truecolour with alpha."""
_LOW_GRAIN: Final = 0.26
"""Compressed size over the number of non-zero bytes. Below it ISA-L, which searches for matches
only once, produces files over 25 % larger than Pillow's level 6 (see ``docs/quality.md``)."""
_STRIPS: Final = 8
_STRIP_ROWS: Final = 8
"""Eight strips of eight rows: 3 % of an image of 2000 rows, half a millisecond."""


class Deflate(Protocol):
    """A zlib-format compressor, as `zlib.compressobj` and `isal_zlib.compressobj` return."""

    def compress(self, data: memoryview, /) -> bytes:
        """Compress *data* and return the part of the stream that is ready."""

    def flush(self) -> bytes:
        """Return the rest of the stream."""


def encode_png(
    pixels: npt.NDArray[np.uint8],
    *,
    texts: Mapping[str, str],
    level: Literal["fast", "small"],
    metadata: SourceMetadata = NO_METADATA,
) -> bytes:
    """Return *pixels* as a PNG file; the same pixels give the same bytes.

    Thread-safe; filter and deflate release the interpreter lock.

    Args:
        pixels: (H, W, 4) RGBA with straight alpha, (H, W, 3) RGB or (H, W) grey, uint8, at least
            1 x 1. Written unchanged: `compose` has cleared the colours under alpha 0.
        texts: Text chunks by keyword; see `shared.job.png_text.png_texts`.
        level: ``fast``: filter "Up" and ISA-L's deflate, or zlib-ng's for images with hardly any
            grain. ``small``: adaptive filters and zlib-ng's level 7, slightly smaller and faster
            than Pillow's level 6. See ``docs/quality.md`` for figures.
        metadata: Of the source; becomes ``pHYs`` and the texts ``Copyright`` and ``Author``,
            unless *texts* has these.

    Raises:
        InvalidOption: If a keyword or text is not allowed in a PNG.
    """
    kept = {"Copyright": metadata.copyright, "Author": metadata.author}
    missing = {name: text for name, text in kept.items() if text and name not in texts}
    filters, deflate = (up, _fast_deflate(pixels)) if level == "fast" else (adaptive, _zlib_ng(7))
    return write(
        pixels,
        texts={**texts, **missing},
        row_filter=filters,
        deflate=deflate,
        dpi=metadata.dpi,
    )


def _fast_deflate(pixels: npt.NDArray[np.uint8]) -> Deflate:
    """Return the compressor that suits *pixels*.

    zlib-ng takes about twice as long as ISA-L. On images with little grain that is little time and
    saves a fifth of the bytes; on images with grain the sizes are about equal.
    """
    rows = pixels.reshape(len(pixels), -1)
    tops = np.linspace(0, max(0, len(rows) - _STRIP_ROWS - 1), _STRIPS).astype(int)
    strips = [rows[top : top + _STRIP_ROWS + 1] for top in tops]
    sample = np.ascontiguousarray(np.concatenate([strip[1:] - strip[:-1] for strip in strips]))
    non_zero_bytes = sum(np.count_nonzero(strip[1:]) for strip in strips)
    if len(isal_zlib.compress(sample.data, 1)) < _LOW_GRAIN * non_zero_bytes:
        return _zlib_ng(2)
    # Level 2 is as fast as level 1 and up to half a percent smaller.
    return isal_zlib.compressobj(2)


def _zlib_ng(level: int) -> Deflate:
    """Return a zlib-ng compressor with maximum memory and the strategy for filtered rows."""
    return zlib_ng.compressobj(
        level, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, zlib_ng.DEF_MEM_LEVEL + 1, zlib_ng.Z_FILTERED
    )


def write(
    pixels: npt.NDArray[np.uint8],
    *,
    texts: Mapping[str, str],
    row_filter: Filter,
    deflate: Deflate,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Return *pixels* as a PNG file with 8 bits per channel; colours are declared as sRGB.

    Args:
        pixels: (H, W), (H, W, 3) or (H, W, 4) uint8, at least 1 x 1.
        texts: Text chunks by keyword, written in this order before the pixels: ``tEXt`` for
            Latin-1 text, else ``iTXt``. Not compressed, so that every reader can find them.
        row_filter: `up` or `adaptive`.
        deflate: A new compressor; used up by this call.
        dpi: Horizontal and vertical resolution in pixels per inch.

    Raises:
        InvalidOption: If a keyword or text is not allowed in a PNG.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim > 2 else 1  # noqa: PLR2004 - (H, W) is grey
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts: list[bytes] = [SIGNATURE, *_chunk(b"IHDR", [header])]
    if channels > 1:
        parts += _chunk(b"sRGB", [_PERCEPTUAL])
    parts += _resolution(dpi)
    for keyword, text in texts.items():
        parts += text_chunk(keyword, text)
    bands = row_filter(pixels.reshape(height, -1), channels)
    stream = [deflate.compress(band.data) for band in bands]
    parts += _chunk(b"IDAT", [*stream, deflate.flush()])
    parts += _chunk(b"IEND", [])
    return b"".join(parts)


def _resolution(dpi: tuple[float, float] | None) -> Sequence[bytes]:
    """Return the parts of a ``pHYs`` chunk; none for a resolution that it cannot hold."""
    per_metre = [round(value / _METRES_PER_INCH) for value in dpi or ()]
    if not per_metre or not all(0 < value <= MAX_CHUNK_BYTES for value in per_metre):
        return ()
    return _chunk(b"pHYs", [struct.pack(">IIB", *per_metre, 1)])


def text_chunk(keyword: str, text: str) -> Sequence[bytes]:
    """Return the parts of a ``tEXt`` chunk, or of an ``iTXt`` if *text* is not Latin-1.

    Raises:
        InvalidOption: If *keyword* or *text* is not allowed in a PNG.
    """
    name = keyword_bytes(keyword)
    if "\0" in text:
        raise InvalidOption(f"text {keyword!r} contains a NUL character, which PNG does not allow")
    try:
        return _chunk(b"tEXt", [name, b"\0", text.encode("latin-1")])
    except UnicodeEncodeError:
        # Two zero bytes: not compressed; then empty language and translated keyword.
        return _chunk(b"iTXt", [name, b"\0\0\0\0\0", text.encode()])


def _chunk(kind: bytes, parts: Iterable[bytes]) -> Sequence[bytes]:
    """Return length, kind, *parts* and checksum, not joined: large parts are copied only once."""
    body = list(parts)
    size_bytes = sum(map(len, body))
    if size_bytes > MAX_CHUNK_BYTES:
        raise InvalidOption(
            f"PNG chunk {kind.decode()} of {size_bytes} bytes; the limit is {MAX_CHUNK_BYTES} bytes"
        )
    checksum = isal_zlib.crc32(kind)
    for part in body:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", size_bytes), kind, *body, struct.pack(">I", checksum)]
