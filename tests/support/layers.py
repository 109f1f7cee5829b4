"""Images composed of a known foreground, alpha and background, to check estimated colours."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SIDE_PX = 600
OUTLINES = ("crisp", "wide", "hair")
PAIRS = (
    ("gradient", "plain"),
    ("stripes", "gradient"),
    ("blotches", "blotches"),
    ("grain", "stripes"),
    ("plain", "grain"),
    ("gradient", "blotches"),
)
"""Textures of foreground and background."""


@dataclass(frozen=True)
class Layered:
    """An image and its layers; colours (H, W, 3) uint8, alpha (H, W) uint8."""

    name: str
    image: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray

    def edge_error(self, colours: np.ndarray, background: tuple[int, int, int]) -> float:
        """Return the mean error inside the soft edge, recomposed on *background*, 0..255."""
        soft = (self.alpha > 0) & (self.alpha < 255)
        alpha = self.alpha[soft, None] / 255

        def on_background(layer):
            return alpha * layer[soft] + (1 - alpha) * np.array(background)

        return float(np.abs(on_background(colours) - on_background(self.foreground)).mean())


def layered_images() -> Iterator[Layered]:
    """Yield an image for each outline and pair of textures; deterministic."""
    for seed, (outline, pair) in enumerate((o, p) for o in OUTLINES for p in PAIRS):
        rng = np.random.default_rng(seed)
        alpha = np.rint(shape(outline, rng) * 255).astype(np.uint8)
        fore, back = (texture(kind, rng) for kind in pair)
        share = alpha[..., None] / np.float32(255)
        yield Layered(
            f"{outline}: {pair[0]} on {pair[1]}",
            np.rint((share * fore + (1 - share) * back) * 255).astype(np.uint8),
            alpha,
            np.rint(fore * 255).astype(np.uint8),
        )


def texture(kind, rng):
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
    first, second = rng.random((2, 3)).astype(np.float32)
    blend = {
        "plain": lambda: np.zeros((SIDE_PX, SIDE_PX, 1)),
        "gradient": lambda: ((x + y) / (2 * SIDE_PX))[..., None],
        "stripes": lambda: (np.sin((0.8 * x + 0.6 * y) / 7) > 0)[..., None],
        "blotches": lambda: _blotches(rng, 12),
        "grain": lambda: 0.7 * _blotches(rng, 40) + 0.3 * rng.random((SIDE_PX, SIDE_PX, 3)),
    }[kind]()
    return np.clip(first * (1 - blend) + second * blend, 0, 1).astype(np.float32)


def _blotches(rng, size_px):
    cells = rng.random((SIDE_PX // size_px, SIDE_PX // size_px, 3)).astype(np.float32)
    return np.clip(cv2.resize(cells, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC), 0, 1)


def shape(kind, rng):
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32) - SIDE_PX / 2
    if kind == "hair":
        return _hair(rng)
    radius = SIDE_PX / 3 * (1 + 0.06 * np.sin(7 * np.arctan2(y, x)))
    return np.clip((radius - np.hypot(x, y)) / (3 if kind == "crisp" else 14) + 0.5, 0, 1)


def _hair(rng):
    doubled = np.zeros((2 * SIDE_PX, 2 * SIDE_PX), np.uint8)
    cv2.circle(doubled, (SIDE_PX, SIDE_PX), SIDE_PX // 2, 255, -1)
    for _ in range(260):
        angle = rng.uniform(0, 2 * np.pi)
        points = [SIDE_PX + 0.48 * SIDE_PX * np.array([np.cos(angle), np.sin(angle)])]
        for _ in range(8):
            angle += rng.normal(0, 0.15)
            points.append(points[-1] + 0.05 * SIDE_PX * np.array([np.cos(angle), np.sin(angle)]))
        strand = np.array(points, np.int32)
        cv2.polylines(doubled, [strand], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA)  # noqa: FBT003
    small = cv2.resize(doubled, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 0.8) / 255
