"""Product images that meet every limit of every check.

Files are written by OpenCV, tifffile and by hand, none of which the checks read with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from support import foreign, icc
from support.discs import textured

from worker.imaging.compliance import Context

FORMATS = ("jpg", "png", "tiff", "webp", "avif")
LOSSLESS_WEBP = 101
ASPECTS = ((1, 1), (3, 4), (4, 5), (2, 3))
RESOLUTION = {foreign.X_RESOLUTION: 300.0, foreign.Y_RESOLUTION: 300.0, foreign.UNIT: 2}


@dataclass(frozen=True)
class Case:
    """A file, what is known of it, and the limits it has to meet."""

    format: str
    pixels: np.ndarray
    mask: np.ndarray
    context: dict[str, Any]
    limits: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    """The file, if it is not written from the other fields."""

    def written(self) -> bytes:
        return self.data or foreign.written(self.format, self.pixels, **self.options)

    def known(self) -> Context:
        return Context(mask=self.mask, **self.context)

    def limited(self, **limits) -> Case:
        return replace(self, limits=self.limits | limits)

    def saved(self, **options) -> Case:
        return replace(self, options=self.options | options)

    def as_format(self, name: str) -> Case:
        return replace(self, format=name, context=self.context | {"extension": name})


def sound(rng, *, share: float | None = None, name: str | None = None, at=(0.5, 0.5)) -> Case:
    """Return an image that meets every limit: an ellipse on white.

    Args:
        rng: Source of all that is random.
        share: Of the canvas that the subject's box fills, on both axes.
        name: Format.
        at: Where the subject lies in the free space, 0 to 1.
    """
    name = name or str(rng.choice(FORMATS))
    across, down = ASPECTS[rng.integers(len(ASPECTS))]
    unit = int(rng.integers(220, 460)) // max(across, down)
    width, height = across * unit, down * unit
    share = rng.uniform(0.62, 0.78) if share is None else share
    pixels, mask = _ellipse(rng, width, height, share, at)
    extension = {"jpg": "jpeg", "tiff": "tif"}.get(name, name) if rng.random() < 0.5 else name
    quality = int(rng.integers(90, 99)) if name != "webp" or rng.random() < 0.5 else LOSSLESS_WEBP
    limits = {
        "white_background": True,
        "fill": [0.6, 0.8],
        "min_side_px": 100,
        "max_side_px": 600,
        "megapixels": 0.4,
        "aspect": f"{across}:{down}",
        "formats": list(FORMATS),
        "extension_matches": True,
        "colour_space": True,
        "no_transparency": True,
        "max_bytes": 10_000_000,
        "min_bytes": 100,
        "subject_touches_edge": True,
        "upscaled": True,
        "jpeg_quality": 88,
        "min_dpi": 300,
        "no_private_metadata": True,
    }
    known = {"extension": extension, "cut": frozenset[str](), "upscaled": 1.0}
    profile = icc.rgb_profile(icc.SRGB) if rng.random() < 0.3 else b""
    options = {"quality": quality, "tags": dict(RESOLUTION), "profile": profile}
    return Case(name, pixels, mask, known, limits, options)


def _ellipse(rng, width, height, share, at):
    rows, columns = np.mgrid[:height, :width] + 0.5
    left, top = (at[0] * (1 - share) * width, at[1] * (1 - share) * height)
    x = (columns - left - share * width / 2) / (share * width / 2)
    y = (rows - top - share * height / 2) / (share * height / 2)
    softness_px = rng.choice([0.01, 1.0, 3.0])
    alpha = np.clip((1 - np.hypot(x, y)) * share * min(width, height) / 2 / softness_px + 0.5, 0, 1)
    mask = np.round(alpha * 255).astype(np.uint8)
    mask[mask <= 10] = 0
    texture = textured(rng, max(width, height), int(rng.integers(5)))[:height, :width]
    opacity = (mask / 255)[..., None]
    return np.round(texture * opacity + 255 * (1 - opacity)).astype(np.uint8), mask
