"""The quality of a JPEG, estimated from its quantisation tables."""

import io
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin
from PIL.ImageFile import ImageFile

from worker.imaging.compliance.inspection import Inspection
from worker.imaging.compliance.types import Outcome, judged


def jpeg_quality(found: Inspection, limit: int) -> Outcome:
    """Check the quality of a JPEG; other formats have none and pass."""
    quality = estimated_quality(found.header)
    if quality is None:
        return Outcome("passed", None, "not a JPEG")
    return judged(is_met=quality >= limit, value=quality, reason=f"quality {quality} is too low")


def estimated_quality(header: ImageFile) -> int | None:
    """Return the quality, 1 to 100, whose table for brightness is nearest to that of a JPEG.

    It is that of the encoder for all that build on libjpeg. None for other formats.
    """
    if not isinstance(header, JpegImagePlugin.JpegImageFile) or not header.quantization:
        return None
    table = np.array(header.quantization[min(header.quantization)])
    distances = np.abs(_tables() - table).sum(axis=1)
    return 100 - int(distances[::-1].argmin())  # the greater of two that are as near


@cache
def _tables() -> npt.NDArray[np.int64]:
    """Return libjpeg's tables for brightness, (100, 64), for the qualities 1 to 100."""
    return np.array([_table(quality) for quality in range(1, 101)])


def _table(quality: int) -> list[int]:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    file.seek(0)
    with JpegImagePlugin.JpegImageFile(file) as image:
        return image.quantization[0]
