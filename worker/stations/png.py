"""The PNG format, written: one filter for all rows, any deflate, chunks with their checksums.

General encoders try five filters on every row and a patient deflate; most of an image's processor
time outside the network went there. One filter that numpy applies to a whole band, and ISA-L's
deflate, give nearly the size in a tenth of the time or less (`benchmarks/codecs.py`). Both release
the interpreter lock, so bands of several pictures are encoded at the same time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from shared.errors import InvalidOption

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_KEYWORD_CHARS: Final = 79
"""PNG (third edition), 11.3.3.2: a keyword has 1 to 79 Latin-1 characters."""
MAX_CHUNK_BYTES: Final = 2**31 - 1
"""PNG, 5.3."""

_COLOUR_TYPES: Final = {1: 0, 3: 2, 4: 6}
"""PNG, 11.2.1: by channels, greyscale, truecolour, truecolour with alpha."""
_UP: Final = 2
"""PNG, 9.2: filter type of "this byte minus the one above"."""
_BAND_BYTES: Final = 1 << 20
"""Bytes filtered and deflated at a time: stays in the cache, and memory stays small."""


class Deflate(Protocol):
    """A zlib-format compressor, as `zlib.compressobj` and `isal_zlib.compressobj` return."""

    def compress(self, data: memoryview, /) -> bytes:
        """Take *data* and return what is ready of the stream."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the stream."""
        ...


def deflate_fast() -> Deflate:
    """Return ISA-L's compressor at level 2, the smallest it makes at level 1's speed."""
    fast: Deflate = isal_zlib.compressobj(2)
    return fast


def deflate_small(strategy: Literal["pictures", "masks"]) -> Deflate:
    """Return zlib's compressor at level 6, with the strategy measured best for the kind.

    ``Z_FILTERED`` made photographs 1 to 2 % smaller, and masks and flat pictures up to 2 % larger.
    """
    chosen = zlib.Z_FILTERED if strategy == "pictures" else zlib.Z_DEFAULT_STRATEGY
    return zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, chosen)


def write(pixels: npt.NDArray[np.uint8], *, texts: Mapping[str, str], deflate: Deflate) -> bytes:
    """Return *pixels* as a PNG file with 8 bits a channel.

    Args:
        pixels: (H, W), (H, W, 3) or (H, W, 4) uint8, at least 1 x 1.
        texts: Text chunks by keyword, in this order before the pixels: ``tEXt`` where Latin-1
            can say it, else ``iTXt``. Never compressed, so that any reader finds them.
        deflate: A fresh compressor, used up.

    Raises:
        InvalidOption: If a keyword or text cannot stand in a PNG.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim > 2 else 1  # noqa: PLR2004 - (H, W) is grey
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts: list[bytes] = [SIGNATURE, *_chunk(b"IHDR", [header])]
    for keyword, text in texts.items():
        parts += text_chunk(keyword, text)
    stream = [deflate.compress(band.data) for band in filtered_up(pixels.reshape(height, -1))]
    parts += _chunk(b"IDAT", [*stream, deflate.flush()])
    parts += _chunk(b"IEND", [])
    return b"".join(parts)


def text_chunk(keyword: str, text: str) -> Sequence[bytes]:
    """Return the parts of a ``tEXt`` chunk, or of an ``iTXt`` where Latin-1 cannot say *text*.

    Raises:
        InvalidOption: If *keyword* or *text* cannot stand in a PNG.
    """
    name = _keyword(keyword)
    if "\0" in text:
        raise InvalidOption(f"text {keyword!r}: a PNG text cannot hold a NUL character")
    try:
        return _chunk(b"tEXt", [name, b"\0", text.encode("latin-1")])
    except UnicodeEncodeError:
        # Not compressed (two zero bytes), no language, no translated keyword.
        return _chunk(b"iTXt", [name, b"\0\0\0\0\0", text.encode()])


def filtered_up(rows: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield *rows* (H, bytes a row) in bands, every row filtered with "Up" and its type before it.

    Bands share one buffer: use each before taking the next.
    """
    height, row_bytes = rows.shape
    band_rows = max(1, min(height, _BAND_BYTES // (row_bytes + 1)))
    buffer = np.empty((band_rows, 1 + row_bytes), np.uint8)
    buffer[:, 0] = _UP
    buffer[0, 1:] = rows[0]  # the row above the first counts as zeros
    np.subtract(rows[1:band_rows], rows[: band_rows - 1], out=buffer[1:, 1:])
    yield buffer
    for top in range(band_rows, height, band_rows):
        band = buffer[: min(band_rows, height - top)]
        bottom = top + len(band)
        np.subtract(rows[top:bottom], rows[top - 1 : bottom - 1], out=band[:, 1:])
        yield band


def _chunk(kind: bytes, parts: Iterable[bytes]) -> Sequence[bytes]:
    """Return length, kind, *parts* and checksum, unjoined: large parts are copied once, later."""
    body = list(parts)
    size_bytes = sum(map(len, body))
    if size_bytes > MAX_CHUNK_BYTES:
        raise InvalidOption(
            f"PNG chunk {kind.decode()} of {size_bytes} bytes; at most {MAX_CHUNK_BYTES}"
        )
    checksum = isal_zlib.crc32(kind)
    for part in body:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", size_bytes), kind, *body, struct.pack(">I", checksum)]


def _keyword(keyword: str) -> bytes:
    """Return *keyword* in Latin-1 if PNG allows it."""
    allowed = all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in keyword)
    tidy = keyword == keyword.strip() and "  " not in keyword
    if not (allowed and tidy and 1 <= len(keyword) <= MAX_KEYWORD_CHARS):
        raise InvalidOption(
            f"text keyword {keyword!r}: PNG allows 1 to {MAX_KEYWORD_CHARS} Latin-1 characters,"
            " without spaces at its ends or two in a row"
        )
    return keyword.encode("latin-1")
