"""Foreground colours for outputs, which show edges on backgrounds of any colour."""

from typing import Final

import cv2
import numpy as np

from worker.imaging.compose import solid
from worker.imaging.foreground import foreground
from worker.imaging.layers import CLEAR, SOLID
from worker.imaging.render.tiles import Kind, tiles
from worker.imaging.types import Mask, RgbImage

REACH_PX: Final = 5
"""Solid pixels up to this far limit the colour of a soft one. On images with known layers 5 gives
the lowest error of 0, 2, 3, 5 and 8, by a sixth below that without limits."""
_NEIGHBOURS: Final = np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8)


def edge_colours(image: RgbImage, mask: Mask) -> RgbImage:
    """Return *image* with estimated foreground colours where *mask* is soft.

    The estimate (`worker.imaging.foreground`) takes sRGB values as mixed by alpha, but lenses mix
    light, so that the edge of a dark subject on a bright background comes out too bright. Colours
    therefore stay in the range of the solid subject nearby, if there is any.

    Args:
        image: (H, W, 3) uint8; not changed.
        mask: (H, W) uint8.
    """
    colours = foreground(image, mask)
    for kind, (rows, columns) in tiles(solid(mask)):
        if kind is Kind.SOFT:
            around = _widened(rows, len(mask)), _widened(columns, mask.shape[1])
            inside = (
                slice(rows.start - around[0].start, rows.stop - around[0].start),
                slice(columns.start - around[1].start, columns.stop - around[1].start),
            )
            limited = _limited(colours[around], image[around], mask[around])
            colours[rows, columns] = limited[inside]
    return colours


def _limited(colours: RgbImage, image: RgbImage, mask: Mask) -> RgbImage:
    """Return *colours* with those of soft pixels in the range of the solid pixels around them."""
    is_solid = cv2.inRange(mask, SOLID, 255)
    brightest = cv2.dilate(cv2.copyTo(image, is_solid), _NEIGHBOURS)
    negative = cv2.copyTo(cv2.bitwise_not(image), is_solid)
    darkest = cv2.bitwise_not(cv2.dilate(negative, _NEIGHBOURS))
    has_solid = cv2.dilate(is_solid, _NEIGHBOURS)
    limits = cv2.bitwise_and(has_solid, cv2.inRange(mask, CLEAR + 1, SOLID - 1))
    return np.asarray(
        cv2.copyTo(cv2.min(cv2.max(colours, darkest), brightest), limits, colours.copy()), np.uint8
    )


def _widened(span: slice, size: int) -> slice:
    return slice(max(0, span.start - REACH_PX), min(size, span.stop + REACH_PX))
