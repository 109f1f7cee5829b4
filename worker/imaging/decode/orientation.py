"""Rotate and flip an image upright according to its EXIF tag."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from worker.imaging.decode.files import FOREIGN

_TO_UPRIGHT: Final[dict[int, Callable[[npt.NDArray[np.uint8]], object]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.flip(pixels, 1), cv2.ROTATE_90_CLOCKWISE),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""Source: EXIF 2.32, tag 274."""


def orientation(image: ImageFile) -> tuple[int, tuple[str, ...]]:
    """Return the EXIF orientation of *image*, 1 to 8, and notes.

    A missing, damaged or unknown tag means upright. Call it after loading: a PNG may hold the tag
    after its pixels, and Pillow itself rotates TIFF and HEIC images and then removes the tag.
    """
    try:
        data = image.info.get("exif")
        if isinstance(data, bytes):
            # Pillow reports damage only on the first read, which may have been while opening.
            Image.Exif().load(data)
        value = image.getexif().get(ExifTags.Base.Orientation)
    except FOREIGN:
        return 1, ("EXIF data damaged; image assumed upright",)
    return (value if isinstance(value, int) and value in _TO_UPRIGHT else 1), ()


def apply_orientation(pixels: npt.NDArray[np.uint8], value: int) -> npt.NDArray[np.uint8]:
    """Return *pixels*, ``(H, W)`` or ``(H, W, 3)``, made upright from orientation *value*.

    The result is C-contiguous; for an upright image it is *pixels* itself.
    """
    return np.asarray(_TO_UPRIGHT[value](pixels), np.uint8)
