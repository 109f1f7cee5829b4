"""Turning a picture upright by its EXIF tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import cv2
import numpy as np
from PIL import Image

from worker.imaging.decode.files import FOREIGN

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.ImageFile import ImageFile

_TAG: Final = 0x0112
UPRIGHT: Final = 1
_LAST: Final = 8
DAMAGED: Final = "EXIF damaged; taken as upright"


def orientation(image: ImageFile) -> tuple[int, tuple[str, ...]]:
    """Return the EXIF orientation of *image*, 1 to 8, and notes.

    Absent, damaged or unknown means upright. Ask after loading: a PNG may say it at its end, and
    Pillow turns TIFF and HEIC pictures itself while loading and then takes the tag away.
    """
    try:
        data = image.info.get("exif")
        if isinstance(data, bytes):
            # Pillow tells of damage only the first time, and may have asked while it opened.
            Image.Exif().load(data)
        value = image.getexif().get(_TAG, UPRIGHT)
    except FOREIGN:
        return UPRIGHT, (DAMAGED,)
    if isinstance(value, int) and UPRIGHT <= value <= _LAST:
        return value, ()
    return UPRIGHT, ()


def turn(pixels: npt.NDArray[np.uint8], value: int) -> npt.NDArray[np.uint8]:
    """Return *pixels*, ``(H, W)`` or ``(H, W, 3)``, turned upright from orientation *value*.

    The result is C-contiguous; it is *pixels* itself where nothing is to be turned.
    Source of the eight cases: EXIF 2.32, tag 274.
    """
    match value:
        case 2:
            turned = cv2.flip(pixels, 1)
        case 3:
            turned = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(pixels, 0)
        case 5:
            turned = cv2.transpose(pixels)
        case 6:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.flip(pixels, 1), cv2.ROTATE_90_CLOCKWISE)
        case 8:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return pixels
    return cast("npt.NDArray[np.uint8]", turned)
