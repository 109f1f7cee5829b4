"""Synthetic masks with soft edges, and how far cutouts made in two ways are apart."""

import cv2
import numpy as np

from worker.imaging.types import Cutout, Mask

SHARE_APART = 1e-5
"""Share of the pixels that may differ by one level, wherever a cutout is made."""


def soft_mask(height: int, width: int, *, seed: int = 1, slope: float = 6.0) -> Mask:
    """Return a mask of random blobs; the higher *slope*, the narrower their edges."""
    cells = max(2, height // 80), max(2, width // 80)
    coarse = np.random.default_rng(seed).random(cells, np.float32)
    values = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip((values - 0.5) * slope * 255 + 128, 0, 255).astype(np.uint8)


def assert_equal_cutouts(found: Cutout, expected: Cutout) -> None:
    """Fail unless at most `SHARE_APART` of the pixels differ, by one level."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    apart = np.abs(found.astype(int) - expected).max(axis=2)
    assert apart.max(initial=0) <= 1
    assert np.count_nonzero(apart) <= SHARE_APART * apart.size
