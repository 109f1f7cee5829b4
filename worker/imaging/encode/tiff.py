"""Encode pixels as TIFF files."""

import io
from typing import Final

from PIL import Image, TiffImagePlugin

from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.exif import exif_tags, xmp
from worker.imaging.encode.srgb import SRGB_PROFILE
from worker.imaging.types import Cutout, RgbImage

_HORIZONTAL: Final = 2
"""TIFF 6.0, section 14: predictor that takes differences of neighbours."""
_BYTE: Final = 1


def encode_tiff(pixels: RgbImage | Cutout, encoding: Encoding) -> bytes:
    """Return *pixels*, (H, W, 3) or (H, W, 4) uint8, as a TIFF file in sRGB.

    LZW with differences: a fifth of the time of deflate at a tenth more bytes, and every reader
    knows it. Thread-safe.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in exif_tags(encoding.metadata, encoding.dpi).items():
        tags[tag] = value
    tags[TiffImagePlugin.PREDICTOR] = _HORIZONTAL
    if packet := xmp(encoding.metadata):
        tags[TiffImagePlugin.XMP] = packet
        tags.tagtype[TiffImagePlugin.XMP] = _BYTE
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "TIFF", compression="tiff_lzw", tiffinfo=tags, icc_profile=SRGB_PROFILE
    )
    return file.getvalue()
