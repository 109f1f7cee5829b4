"""Flatten images with alpha for the network, which takes RGB only."""

from typing import Final

import numpy as np
from PIL import Image

WHITE: Final = 255
GREY: Final = 128
_BRIGHT: Final = 192
_VISIBLE: Final = 128


def flatten(rgb: Image.Image, alpha: Image.Image) -> tuple[Image.Image, str]:
    """Paste *rgb* through *alpha* onto a plain background; return it and a note naming the colour.

    The background is white, as in most product photos, or mid grey where the visible part is
    bright itself (mean above 192 of 255) and would not stand out against white. Colours under
    alpha 0 are arbitrary and never reach the network.
    """
    level = GREY if _mean_luma(rgb, alpha) > _BRIGHT else WHITE
    background = Image.new("RGB", rgb.size, (level, level, level))
    background.paste(rgb, mask=alpha)
    return background, f"has alpha; flattened on {'white' if level == WHITE else 'grey'}"


def _mean_luma(rgb: Image.Image, alpha: Image.Image) -> float:
    """Return the mean brightness, 0 to 255, of pixels with alpha of at least 128; 0 if none."""
    visible = alpha.point([0] * _VISIBLE + [255] * (256 - _VISIBLE))
    counts = np.asarray(rgb.convert("L").histogram(visible), dtype=np.int64)
    total = int(counts.sum())
    return float(counts @ np.arange(256)) / total if total else 0.0
