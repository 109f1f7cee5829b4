"""Decide whether the alpha of an image is that of a cutout, which needs no other mask."""

from typing import Final

import cv2
import numpy as np

from worker.imaging.layers import CLEAR, SOLID
from worker.imaging.types import Mask

RING_SHARE: Final = 0.01
"""Width of the outermost ring, of the shorter side; at least one pixel."""
MIN_CLEAR_OF_RING: Final = 0.95
"""Least share of the ring that is transparent: a subject may touch an edge."""
MIN_DECIDED: Final = 0.90
"""Least share of all pixels that are transparent or opaque: a gradient is not a cutout."""
MIN_OPAQUE: Final = 0.005
"""Least share of all pixels that are opaque."""
MIN_OF_BOX: Final = 0.99
"""From this share of its box on, the opaque part is a rectangle: an image with padding."""


ALREADY_CUT_OUT: Final = "already cut out"
"""Note of an image whose own alpha is its mask."""


def is_cutout(alpha: Mask) -> bool:
    """Return whether *alpha* separates a subject from its background.

    Values up to 3 count as transparent and from 252 on as opaque: networks seldom return 0 or 255,
    so that with the exact values many cutouts would not be recognised (ADR 49).
    """
    clear = np.asarray(cv2.inRange(alpha, 0, CLEAR), np.uint8)
    opaque = np.asarray(cv2.inRange(alpha, SOLID, 255), np.uint8)
    opaque_px = cv2.countNonZero(opaque)
    if opaque_px < MIN_OPAQUE * alpha.size:
        return False
    if opaque_px + cv2.countNonZero(clear) < MIN_DECIDED * alpha.size:
        return False
    _, _, width, height = cv2.boundingRect(opaque)
    return _clear_share_of_ring(clear) >= MIN_CLEAR_OF_RING and opaque_px < (
        MIN_OF_BOX * width * height
    )


def _clear_share_of_ring(clear: Mask) -> float:
    ring = max(1, round(RING_SHARE * min(clear.shape)))
    inside = clear[ring:-ring, ring:-ring]
    ring_px = clear.size - inside.size
    clear_px = cv2.countNonZero(clear)
    if inside.size:
        clear_px -= cv2.countNonZero(np.ascontiguousarray(inside))
    return clear_px / ring_px
