"""Resize an image of any size to the square input of the network."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from worker.imaging.types import RgbImage
from worker.inference.architectures.isnet.network import SIDE_PX

MAX_FLOAT_PIXELS: Final = 16_000_000
"""Larger images are subsampled before conversion to float32, which takes 12 bytes per pixel: 1.2 GB
at the greatest size that is decoded."""


def prepare(
    image: RgbImage, *, side_px: int = SIDE_PX, max_float_pixels: int = MAX_FLOAT_PIXELS
) -> torch.Tensor:
    """Resize to a square like the original node, and truncate.

    Bilinear between pixel centres, without antialiasing, in float32, truncated: rounding, as in
    the usual uint8 resizers, would brighten the image by half a level.

    Args:
        image: (H, W, 3) uint8.
        side_px: Width and height of the result.
        max_float_pixels: Images with more pixels are subsampled first, with the same result.

    Returns:
        `(3, side_px, side_px)` uint8 on the CPU, in channels-last layout. It equals
        `torch.nn.functional.interpolate` followed by truncation, except for a few pixels in a
        million where rounding errors fall on either side of an integer (one level).
    """
    height, width, _ = image.shape
    if height * width > max_float_pixels:
        small = _resize_subsampled(image, side_px).astype(np.uint8)
    else:
        floats = image.astype(np.float32)
        resized = cv2.resize(floats, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
        small = resized.astype(np.uint8)
    return torch.from_numpy(small).permute(2, 0, 1)


def _resize_subsampled(image: RgbImage, side_px: int) -> npt.NDArray[np.float32]:
    """Resize like `cv2.resize`, reading only the two rows and columns that each pixel needs."""
    height, width, _ = image.shape
    above, below, down = _neighbours(height, side_px)
    left, right, across = _neighbours(width, side_px)
    down, across = down.reshape(-1, 1, 1), across.reshape(-1, 1)
    upper, lower = image[above], image[below]
    top = upper[:, left] * (1 - across) + upper[:, right] * across
    bottom = lower[:, left] * (1 - across) + lower[:, right] * across
    return np.asarray(top * (1 - down) + bottom * down, np.float32)


def _neighbours(
    length_px: int, side_px: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return the pixels before and after each of *side_px* positions, and the latter's weight."""
    scale = np.float32(length_px / side_px)
    centres = (np.arange(side_px, dtype=np.float32) + 0.5) * scale - 0.5
    positions = np.clip(centres, 0, None).astype(np.float32)
    before = positions.astype(np.intp)
    after = np.minimum(before + 1, length_px - 1)
    return before, after, (positions - before).astype(np.float32)
