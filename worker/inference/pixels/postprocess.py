"""From the network's output to a mask of the picture's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from worker.imaging.types import Segmented

if TYPE_CHECKING:
    import numpy.typing as npt

EMPTY_BELOW: Final = 0.2
"""A picture nowhere more foreground than this is taken to be empty, where *stretch* is `guarded`.

Measured with the open IS-Net weights: greatest output 0.01 to 0.12 on plain colours, gradients,
noise, a lawn, the moon's surface and a bare table; 0.95 and more on every picture with a plain
subject, down to a dot of 20 of 1000 pixels. Between lie pictures of neither kind, which are
stretched: gravel 0.34, a tissue section 0.63, a field of galaxies 0.71. RMBG-1.4: unmeasured."""


def finish(output: npt.NDArray[np.float32], height: int, width: int, *, stretch: str) -> Segmented:
    """Resize *output* to the picture's size and stretch it to 0..255 by its own range.

    The range is that of this picture after resizing, as in the original node: taken over a
    batch, one picture would change another's mask.

    Args:
        output: `(1024, 1024)` float32 from 0 to 1.
        height: Rows of the picture, in pixels.
        width: Columns of the picture, in pixels.
        stretch: `guarded`: a picture with nothing in it (see `EMPTY_BELOW`) gives an empty mask;
            `seed`: it is stretched like any other.

    Returns:
        A mask `(height, width)`, truncated, all 0 where *output* is flat, whatever *stretch*; and
        the range at the picture's size before it was stretched.
    """
    resized = cv2.resize(output, (width, height), interpolation=cv2.INTER_LINEAR)
    low, high, _, _ = cv2.minMaxLoc(resized)
    if is_empty(low, high, stretch):
        return Segmented(np.zeros((height, width), np.uint8), low, high)
    # Divided before it is multiplied, as the node does: so the greatest value is 255 exactly.
    stretched = resized - np.float32(low)
    stretched = np.divide(stretched, np.float32(high) - np.float32(low), out=stretched)
    return Segmented(np.multiply(stretched, 255, out=stretched).astype(np.uint8), low, high)


def is_empty(low: float, high: float, stretch: str) -> bool:
    """Say whether an output of this range gives an empty mask; see `finish`."""
    return high <= low or (stretch == "guarded" and high < EMPTY_BELOW)
