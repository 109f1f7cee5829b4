"""Encode cutouts as ZIP archives of a JPEG for the colours and a PNG for alpha."""

import io
import zipfile
from typing import Final

import numpy as np

from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.jpg import encode_jpg
from worker.imaging.encode.png import encode_png
from worker.imaging.types import Cutout, RgbImage, SourceMetadata

COLOUR_NAME: Final = "color.jpg"
ALPHA_NAME: Final = "alpha.png"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that ZIP can express: equal pixels give equal bytes."""
_READABLE: Final = 0o644 << 16


def encode_zip(pixels: RgbImage | Cutout, encoding: Encoding) -> bytes:
    """Return a ZIP of `color.jpg` and `alpha.png`, which both are stored uncompressed.

    Args:
        pixels: (H, W, 4) with straight alpha, or (H, W, 3), whose alpha is 255 everywhere.
        encoding: Of the JPEG.
    """
    colours = np.ascontiguousarray(pixels[..., :3])
    alpha = (
        np.ascontiguousarray(pixels[..., 3])
        if pixels.shape[2] == 4  # noqa: PLR2004 - with alpha
        else np.full(pixels.shape[:2], 255, np.uint8)
    )
    resolution = SourceMetadata(dpi=encoding.dpi)
    entries = {
        COLOUR_NAME: encode_jpg(colours, encoding),
        ALPHA_NAME: encode_png(alpha, texts={}, level="fast", metadata=resolution),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix; the default depends on the machine
            entry.external_attr = _READABLE
            archive.writestr(entry, data)
    return file.getvalue()
