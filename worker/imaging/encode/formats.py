"""The formats of outputs: one encoder each."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from shared.recipes.formats import Format
from worker.imaging.encode.archive import encode_zip
from worker.imaging.encode.avif import encode_avif
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.exif import xmp
from worker.imaging.encode.jpg import encode_jpg
from worker.imaging.encode.png import encode_png
from worker.imaging.encode.tiff import encode_tiff
from worker.imaging.encode.webp import encode_webp
from worker.imaging.types import Cutout, RgbImage

_XMP_KEYWORD: Final = "XML:com.adobe.xmp"
"""Keyword of a text chunk with XMP. It becomes an ``iTXt``, as it has to be: a packet is never
Latin-1, because it begins with a byte order mark."""
NO_TEXTS: Final[Mapping[str, str]] = {}

FormatEncoder: TypeAlias = Callable[[RgbImage | Cutout, Encoding, Mapping[str, str]], bytes]
"""Pixels, encoding and texts to a file; the same arguments give the same bytes."""


def _png(pixels: RgbImage | Cutout, encoding: Encoding, texts: Mapping[str, str]) -> bytes:
    metadata = encoding.metadata
    described = {"Title": metadata.title, "Description": metadata.description}
    packet = xmp(metadata).decode()
    kept = {name: text for name, text in (described | {_XMP_KEYWORD: packet}).items() if text}
    return encode_png(
        pixels,
        texts={**texts, **kept},
        level="fast",
        metadata=replace(metadata, dpi=encoding.dpi),
    )


FORMATS: Final[Mapping[Format, FormatEncoder]] = {
    "jpg": lambda pixels, encoding, _: encode_jpg(pixels, encoding),
    "png": _png,
    "webp": lambda pixels, encoding, _: encode_webp(pixels, encoding),
    "avif": lambda pixels, encoding, _: encode_avif(pixels, encoding),
    "tiff": lambda pixels, encoding, _: encode_tiff(pixels, encoding),
    "zip": lambda pixels, encoding, _: encode_zip(pixels, encoding),
}
"""Format of a recipe -> its encoder. All write sRGB, and say so."""


def encode(
    pixels: RgbImage | Cutout, encoding: Encoding, *, texts: Mapping[str, str] = NO_TEXTS
) -> bytes:
    """Return *pixels* as a file; the same arguments give the same bytes.

    Args:
        pixels: (H, W, 3) opaque or (H, W, 4) with straight alpha, uint8 sRGB, at least 1 x 1.
        encoding: Format and its options.
        texts: Text chunks of a PNG; other formats do not have them.

    Raises:
        ValueError: If the format keeps no transparency and *pixels* have alpha.
        InvalidOption: If the format cannot hold the size, or a text is not allowed in a PNG.
    """
    if encoding.format == "jpg" and pixels.shape[2] != 3:  # noqa: PLR2004 - no alpha
        raise ValueError("jpg keeps no transparency; put the cutout on a background first")
    return FORMATS[encoding.format](pixels, encoding, texts)
