"""Convert the network's output to a mask of the image's size."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.types import Mask, Segmented

EMPTY_BELOW: Final = 0.2
"""With *stretch* `guarded`, an image whose greatest output is below this counts as empty.

Measured with the open IS-Net weights: greatest output 0.01 to 0.12 on plain colours, gradients,
noise, a lawn, the moon's surface and a bare table; at least 0.95 on every image with a clear
subject, down to a dot of 20 of 1000 pixels. Images of neither kind lie between and are stretched:
gravel 0.34, a tissue section 0.63, a field of galaxies 0.71. Not measured with RMBG-1.4."""

_BAND_ROWS: Final = 32
"""Rows stretched at a time, which fit the cache."""


def finish(
    output: npt.NDArray[np.float32],
    height: int,
    width: int,
    *,
    stretch: str,
    empty_below: float = EMPTY_BELOW,
) -> Segmented:
    """Resize *output* to the image's size and stretch its range to 0..255.

    The range is that of this image after resizing, as in the original node; the range of a batch
    would let one image change another's mask.

    Args:
        output: `(side, side)` float32, for IS-Net `(1024, 1024)` from 0 to 1.
        height: Rows of the image, in pixels.
        width: Columns of the image, in pixels.
        stretch: `guarded`: an image without a subject (see `EMPTY_BELOW`) gives an empty mask;
            `seed`: it is stretched like any other.
        empty_below: See `EMPTY_BELOW`, which is for IS-Net.

    Returns:
        A mask `(height, width)`, values truncated, all 0 if *output* is constant; and the range at
        the image's size before stretching.
    """
    resized = np.asarray(
        cv2.resize(output, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    low, high = float(resized.min()), float(resized.max())
    if is_empty(low, high, stretch, empty_below):
        return Segmented(np.zeros((height, width), np.uint8), low, high)
    return Segmented(_stretched(resized, np.float32(low), np.float32(high)), low, high)


def _stretched(values: npt.NDArray[np.float32], low: np.float32, high: np.float32) -> Mask:
    """Return *values* with *low* to *high* stretched to 0..255, truncated."""
    mask = np.empty(values.shape, np.uint8)
    buffer = np.empty_like(values[:_BAND_ROWS])
    for top in range(0, len(values), _BAND_ROWS):
        band = values[top : top + _BAND_ROWS]
        stretched = np.subtract(band, low, out=buffer[: len(band)])
        # Divides before it multiplies, like the node, so that the greatest value is exactly 255.
        np.divide(stretched, high - low, out=stretched)
        mask[top : top + len(band)] = np.multiply(stretched, 255, out=stretched)
    return mask


def is_empty(low: float, high: float, stretch: str, empty_below: float = EMPTY_BELOW) -> bool:
    """Return whether an output of this range gives an empty mask; see `finish`."""
    return high <= low or (stretch == "guarded" and high < empty_below)
