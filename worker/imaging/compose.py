"""Combine an image and its mask into a cutout."""

from typing import Final, Literal, Protocol, TypeAlias

import cv2
import numpy as np

from worker.imaging.foreground import soft_colours
from worker.imaging.layers import CLEAR, SOLID
from worker.imaging.types import Cutout, Mask, RgbImage

Edges: TypeAlias = Literal["estimate", "source", "seed"]

_VALUES: Final = np.arange(256, dtype=np.uint8)
_SOLID_VALUES: Final = np.where(_VALUES <= CLEAR, 0, np.where(_VALUES >= SOLID, 255, _VALUES))
_BAND_ROWS: Final = 32
"""Rows processed at a time, which fit the cache."""


class Compose(Protocol):
    """A way to make cutouts: `compose`, or one that equals it and runs elsewhere; thread-safe."""

    def __call__(self, image: RgbImage, mask: Mask, *, edges: Edges) -> Cutout:
        """Return a cutout; see `compose`."""


def compose(image: RgbImage, mask: Mask, *, edges: Edges = "source") -> Cutout:
    """Return a cutout with *mask* as alpha; pixels with alpha 0 become (0, 0, 0, 0).

    Args:
        image: (H, W, 3) uint8; not changed.
        mask: (H, W) uint8; becomes the alpha channel unchanged.
        edges: Colours of pixels with partial alpha. ``source``: those of the image. ``estimate``:
            those of the foreground, without the old background (see `worker.imaging.foreground`).
            ``seed``: those of the image multiplied by alpha, the same dark edges that the ComfyUI
            node produces by pasting through a mask onto transparent black.
    """
    cutout = np.zeros((*mask.shape, 4), np.uint8)
    combined = _darkened if edges == "seed" else _with_alpha
    for top in range(0, len(mask), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        left, _, width, _ = cv2.boundingRect(mask[rows])
        if width:
            band = rows, slice(left, left + width)
            # Colours under alpha 0 are cleared: they would otherwise be readable in the file.
            cv2.copyTo(combined(image[band], mask[band]), mask[band], cutout[band])
    if edges == "estimate":
        pixels = cutout.reshape(-1, 4).view(np.uint32)[:, 0]
        for at, colours in soft_colours(image, mask):
            alphas = mask.reshape(-1).take(at)
            merged = np.asarray(cv2.merge([colours[None], alphas[None]]), np.uint8)
            pixels[at] = merged.view(np.uint32).ravel()
    return cutout


def _with_alpha(image: RgbImage, mask: Mask) -> Cutout:
    """Return *image* with *mask* as alpha."""
    cutout = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    cv2.insertChannel(mask, cutout, 3)
    return np.asarray(cutout, np.uint8)


def _darkened(image: RgbImage, mask: Mask) -> Cutout:
    """Return *image* times *mask*, with *mask* as alpha."""
    # Rounds to nearest, like Pillow; x * m / 255 is never halfway because 255 is odd.
    dark = np.asarray(cv2.multiply(image, cv2.merge([mask] * 3), scale=1 / 255), np.uint8)
    return _with_alpha(dark, mask)


def solid(mask: Mask) -> Mask:
    """Return *mask* with values that count as pure set to 0 and 255; soft edges are unchanged.

    Networks seldom return exactly 0 or 255: most of the inside of a subject has 252 to 254, which
    shows through faintly on another background.
    """
    return np.asarray(cv2.LUT(mask, _SOLID_VALUES), np.uint8)


def combine(mask: Mask, alpha: Mask) -> Mask:
    """Return ``mask * alpha / 255``, rounded, to keep the transparency of the source."""
    return np.asarray(cv2.multiply(mask, alpha, scale=1 / 255), np.uint8)
