"""Made subjects on white, whose mask is known, hard to encode."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Disc:
    """A subject on white."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    mask: np.ndarray
    """(H, W) uint8: 0 or above 10."""


def textured(rng: np.random.Generator, size: int, kind: int) -> np.ndarray:
    """Return a texture: noise, black and white noise, coarse noise, noise of colours, or plain."""
    match kind:
        case 0:
            return rng.integers(0, 256, (size, size, 3))
        case 1:
            return rng.integers(0, 2, (size, size, 1)).repeat(3, 2) * 255
        case 2:
            coarse = rng.integers(0, 256, (max(1, size // 4), max(1, size // 4), 3), np.uint8)
            return cv2.resize(coarse, (size, size))
        case 3:
            return rng.integers(0, 2, (size, size, 3)) * 255
        case _:
            return np.ones((size, size, 3)) * rng.integers(0, 200, 3)


def disc(
    rng: np.random.Generator, size: int, *, share: float = 0.6, kind: int | None = None
) -> Disc:
    """Return a textured disc with a hard or soft edge whose diameter is *share* of *size*."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    softness = rng.choice([0.01, 1.0, 3.0, 8.0])
    distance = np.hypot(rows - size / 2, columns - size / 2)
    alpha = np.clip((size * share / 2 - distance) / softness + 0.5, 0, 1)
    mask = np.round(alpha * 255).astype(np.uint8)
    mask[mask <= 10] = 0
    opacity = (mask / 255)[..., None]
    texture = textured(rng, size, int(rng.integers(5)) if kind is None else kind)
    return Disc(np.round(texture * opacity + 255 * (1 - opacity)).astype(np.uint8), mask)
