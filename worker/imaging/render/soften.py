"""Blur by any radius at about the same cost."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

_REDUCED_PX: Final = 4
"""Wide blurs work on an image reduced so far that this is the standard deviation, or more."""


def softened(pixels: npt.NDArray[np.uint8], deviation_px: float) -> npt.NDArray[np.uint8]:
    """Return *pixels* after a Gaussian blur with a standard deviation of *deviation_px*.

    Pixels beyond the edge repeat the edge.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        deviation_px: At least 0.
    """
    height, width = pixels.shape[:2]
    factor = max(1, int(deviation_px) // _REDUCED_PX)
    size = max(1, width // factor), max(1, height // factor)
    small = pixels if factor == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    deviations = deviation_px * size[0] / width, deviation_px * size[1] / height
    soft = cv2.GaussianBlur(
        small,
        (0, 0),
        max(deviations[0], 0.01),
        sigmaY=max(deviations[1], 0.01),
        borderType=cv2.BORDER_REPLICATE,
    )
    return np.asarray(soft if factor == 1 else cv2.resize(soft, (width, height)), np.uint8)
