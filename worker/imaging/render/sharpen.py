"""Sharpen an image without halos."""

from typing import Final

import cv2
import numpy as np

from worker.imaging.types import Mask, RgbImage

_DEVIATION_PX: Final = 1.0
_NEIGHBOURS: Final = np.ones((3, 3), np.uint8)


def sharpened(pixels: RgbImage, where: Mask, strength: float) -> RgbImage:
    """Return *pixels* with details raised by *strength* (0 to 1), where *where* is 255.

    Each value stays within the range of its neighbours, so that outlines get no halo.
    """
    blurred = cv2.GaussianBlur(pixels, (0, 0), _DEVIATION_PX)
    raised = cv2.addWeighted(pixels, 1 + strength, blurred, -strength, 0)
    lowest, highest = cv2.erode(pixels, _NEIGHBOURS), cv2.dilate(pixels, _NEIGHBOURS)
    limited = cv2.min(cv2.max(raised, lowest), highest)
    return np.asarray(cv2.copyTo(limited, where, pixels.copy()), np.uint8)
