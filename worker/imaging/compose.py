"""From a picture and its mask to a cutout."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from worker.imaging import foreground as soft_edges
from worker.imaging.types import Cutout, Mask, RgbImage

Edges: TypeAlias = Literal["estimate", "source", "seed"]

_BAND_ROWS: Final = 256
"""Rows handled at a time, so that no second array as large as the cutout is needed."""
_CHANNELS: Final = 4


def compose(image: RgbImage, mask: Mask, *, edges: Edges = "source") -> Cutout:
    """Return the cutout: *mask* becomes alpha, and pixels under alpha 0 are (0, 0, 0, 0).

    Args:
        image: (H, W, 3) uint8; not changed.
        mask: (H, W) uint8; becomes the alpha channel as it is.
        edges: Colours under soft alpha. ``source``: the picture's own. ``estimate``: the
            foreground's, without the old background (see `worker.imaging.foreground`). ``seed``:
            the picture's times alpha, which is what pasting through a mask on transparent black
            leaves: dark edges, for who needs the same pixels as the ComfyUI node.
    """
    if edges == "estimate":
        return _straight(soft_edges.foreground(image, mask), mask)
    if edges == "seed":
        return _pasted(image, mask)
    return _straight(image, mask)


def combine(mask: Mask, alpha: Mask) -> Mask:
    """Return ``mask * alpha / 255``, rounded: a source's own transparency kept in its mask."""
    return np.asarray(cv2.multiply(mask, alpha, scale=1 / 255), np.uint8)


def _straight(image: RgbImage, mask: Mask) -> Cutout:
    cutout = np.zeros((*mask.shape, _CHANNELS), np.uint8)
    for top in range(0, len(mask), _BAND_ROWS):
        band = slice(top, top + _BAND_ROWS)
        # Cleared, not only hidden: what lies under alpha 0 would be shipped with the file.
        cv2.copyTo(cv2.merge([image[band], mask[band]]), mask[band], cutout[band])
    return cutout


def _pasted(image: RgbImage, mask: Mask) -> Cutout:
    cutout = np.empty((*mask.shape, _CHANNELS), np.uint8)
    for top in range(0, len(mask), _BAND_ROWS):
        band = slice(top, top + _BAND_ROWS)
        thrice = cv2.merge([mask[band]] * 3)
        # Rounded to nearest, as Pillow does: x * m / 255 is never halfway, for 255 is odd.
        colours = cv2.multiply(image[band], thrice, scale=1 / 255)
        cv2.merge([colours, mask[band]], cutout[band])
    return cutout
