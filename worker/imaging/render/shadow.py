"""Draw a soft contact shadow from the mask."""

import cv2
import numpy as np

from shared.recipes.recipe import Shadow
from worker.imaging.render.light import WHITE, Alpha, to_alpha
from worker.imaging.render.soften import softened
from worker.imaging.types import Mask


def lit(mask: Mask, shadow: Shadow, height_px: float) -> Alpha:
    """Return the share of light that *shadow* leaves on the background; `WHITE` is all of it.

    Args:
        mask: The subject's alpha on the canvas, (H, W) uint8.
        shadow: Opacity, blur and offset.
        height_px: Height of the subject on the canvas, which blur and offset refer to.
    """
    right, down = (round(share * height_px) for share in shadow.offset)
    moved = _moved(mask, right, down)
    dark = to_alpha(softened(moved, shadow.blur * height_px))
    return np.asarray(cv2.addWeighted(dark, -shadow.opacity, dark, 0, WHITE), np.uint16)


def _moved(mask: Mask, right_px: int, down_px: int) -> Mask:
    """Return *mask* moved to the right and down; pixels from beyond its edge repeat the edge."""
    height, width = mask.shape
    right_px = max(1 - width, min(width - 1, right_px))
    down_px = max(1 - height, min(height - 1, down_px))
    above, below, left, right = (
        max(0, px) for px in (down_px, -down_px, right_px, -right_px)
    )  # rows and columns that come from beyond the edge
    part = mask[below : height - above, right : width - left]
    moved = cv2.copyMakeBorder(part, above, below, left, right, cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
