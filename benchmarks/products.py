"""Synthetic product photographs: equal numbers give equal files on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

SIDE_PX: Final = 2000
GRAIN: Final = 5.0
"""Standard deviation of the noise; with `QUALITY`, files have about 1 MB, as from a camera."""
QUALITY: Final = 90


def product(number: int, side_px: int = SIDE_PX) -> np.ndarray:
    """Return an image, `(side_px, side_px, 3)` uint8 RGB: an object with a label in a studio.

    *number* determines outline, colours and position; the edge is soft over 4 pixels in 2000.
    """
    rng = np.random.default_rng(number)
    y, x = (np.mgrid[:side_px, :side_px].astype(np.float32) / side_px - 0.5) * 2
    backdrop = 228 - 30 * y - 12 * np.hypot(x, y)
    shadow = 70 * np.exp(-(((y - 0.72) / 0.08) ** 2) - (x / 0.6) ** 2)
    image = np.repeat((backdrop - shadow)[..., None], 3, axis=2)
    dx, dy = x - rng.uniform(-0.1, 0.1), y - rng.uniform(-0.05, 0.05)
    turn = np.arctan2(dy, dx)
    waves = 0.05 * np.sin(rng.integers(2, 7) * turn + rng.uniform(0, 6))
    inside = 0.6 + waves - np.hypot(dx * rng.uniform(1.0, 1.6), dy * 0.9)
    alpha = np.clip(inside * side_px / 4 + 0.5, 0, 1)[..., None]
    shade = (0.75 + 0.35 * np.cos(2.2 * dx - 0.5) - 0.2 * dy)[..., None]
    weave = 6 * (np.sin(dx * 160) * np.sin(dy * 160))[..., None]
    thing = rng.uniform(40, 200, 3).astype(np.float32) * shade + weave
    thing[_label(f"No. {number}", side_px)] = 245
    image = alpha * thing + (1 - alpha) * image
    image += rng.normal(0, GRAIN, image.shape[:2]).astype(np.float32)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def _label(text: str, side_px: int) -> np.ndarray:
    """Return the mask of the printed label: `(side_px, side_px)` bool."""
    layer = np.zeros((side_px, side_px), np.uint8)
    at = (round(0.33 * side_px), round(0.52 * side_px))
    scale, width = side_px / 450, max(1, side_px // 180)
    cv2.putText(layer, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, width)
    return layer > 0


def jpeg(image: np.ndarray, quality: int = QUALITY) -> bytes:
    """Return *image* as a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV cannot write a JPEG")
    return data.tobytes()


def write_products(folder: Path, count: int, side_px: int = SIDE_PX) -> list[Path]:
    """Write *count* files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"product-{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(product(number, side_px)))
    return paths
