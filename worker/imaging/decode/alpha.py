"""What the network is shown of a picture that has an alpha of its own."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

WHITE: Final = 255
GREY: Final = 128
_BRIGHT: Final = 192
_VISIBLE: Final = 128


def flatten(rgb: Image.Image, alpha: Image.Image) -> tuple[Image.Image, str]:
    """Lay *rgb* through *alpha* on a plain backdrop, and say on which.

    White, as shops show their wares; mid grey where the visible part is itself bright (mean
    above 192 of 255), because white on white would be lost. Colours that hide under alpha 0 are
    whatever an editor left there and never reach the network.
    """
    level = GREY if _mean_luma(rgb, alpha) > _BRIGHT else WHITE
    ground = Image.new("RGB", rgb.size, (level, level, level))
    ground.paste(rgb, mask=alpha)
    return ground, f"own alpha; flattened on {'white' if level == WHITE else 'grey'}"


def _mean_luma(rgb: Image.Image, alpha: Image.Image) -> float:
    """Return the mean brightness, 0 to 255, where *alpha* is at least half; 0 if nowhere."""
    visible = alpha.point([0] * _VISIBLE + [255] * (256 - _VISIBLE))
    counts = np.asarray(rgb.convert("L").histogram(visible), dtype=np.int64)
    total = int(counts.sum())
    return float(counts @ np.arange(256)) / total if total else 0.0
