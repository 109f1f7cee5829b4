"""From a picture of any size to the 1024 x 1024 one that the network looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch

from worker.inference.architectures.isnet.network import SIDE_PX

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.imaging.types import RgbImage

MAX_FLOAT_PIXELS: Final = 16_000_000
"""Pictures over this many pixels are thinned out before they are turned into floats, which take
12 bytes a pixel: 1.2 GB at the greatest size that is decoded."""


def prepare(image: RgbImage) -> torch.Tensor:
    """Resize to 1024 x 1024 as the original node does, and cut the fraction off.

    Bilinear between pixel centres, without antialiasing, in float32, truncated: rounding, as
    the usual uint8 resizers do, would brighten the picture by half a level.

    Returns:
        `(3, 1024, 1024)` uint8 on the CPU, laid out channels last. It equals
        `torch.nn.functional.interpolate` followed by truncation except at a few pixels in a
        million, where the two round a sum to either side of a whole number (one level).
    """
    height, width, _ = image.shape
    if height * width > MAX_FLOAT_PIXELS:
        small = _resize_thinned(image).astype(np.uint8)
    else:
        floats = image.astype(np.float32)
        resized = cv2.resize(floats, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
        small = resized.astype(np.uint8)
    return torch.from_numpy(small).permute(2, 0, 1)


def _resize_thinned(image: RgbImage) -> npt.NDArray[np.float32]:
    """Resize as `cv2.resize` would, from nothing but the two rows and columns a pixel needs."""
    height, width, _ = image.shape
    above, below, down = _neighbours(height)
    left, right, across = _neighbours(width)
    down, across = down.reshape(-1, 1, 1), across.reshape(-1, 1)
    upper, lower = image[above], image[below]
    top = upper[:, left] * (1 - across) + upper[:, right] * across
    bottom = lower[:, left] * (1 - across) + lower[:, right] * across
    return np.asarray(top * (1 - down) + bottom * down, np.float32)


def _neighbours(
    length_px: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return for each of 1024 places the pixel before it, the one after, and the latter's share."""
    scale = np.float32(length_px / SIDE_PX)
    centres = (np.arange(SIDE_PX, dtype=np.float32) + 0.5) * scale - 0.5
    places = np.clip(centres, 0, None).astype(np.float32)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, length_px - 1)
    return before, after, (places - before).astype(np.float32)
