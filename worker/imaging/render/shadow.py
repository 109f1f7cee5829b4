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
    moved = cv2.warpAffine(
        mask,
        np.array([[1, 0, right], [0, 1, down]], np.float32),
        mask.shape[::-1],
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    dark = to_alpha(softened(np.asarray(moved, np.uint8), shadow.blur * height_px))
    return np.asarray(cv2.addWeighted(dark, -shadow.opacity, dark, 0, WHITE), np.uint16)
