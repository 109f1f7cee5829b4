"""Types of the renderer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from shared.recipes.values import Size
from worker.imaging.quality import Edge as Side
from worker.imaging.types import Cutout, Mask, RgbImage

__all__ = ["Box", "Drawn", "Placement", "Region", "Side", "Subject"]

Region: TypeAlias = tuple[slice, slice]
"""Rows and columns; both slices have a start and a stop."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; *right* and *bottom* are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    def scaled(self, scale: float, left_px: float, top_px: float) -> "Box":
        """Return the box times *scale*, then moved right by *left_px* and down by *top_px*."""
        return Box(
            self.left * scale + left_px,
            self.top * scale + top_px,
            self.right * scale + left_px,
            self.bottom * scale + top_px,
        )


@dataclass(frozen=True)
class Subject:
    """The subject in the source."""

    box: Box
    """In whole pixels of the source."""
    area_px: float
    """Sum of its alpha (0 to 1), in pixels of the source."""
    cut: frozenset[Side]
    """Sides on which the source, or the region of interest, cuts the subject."""


@dataclass(frozen=True)
class Placement:
    """Where the source lies on the canvas; all in pixels of the canvas."""

    canvas: Size
    scale: float
    """Pixels of the canvas per pixel of the source."""
    left_px: float
    """Of the source's left edge; may be negative or fractional."""
    top_px: float
    """Of the source's top edge; may be negative or fractional."""
    subject: Box
    """The subject's box, which may extend beyond the canvas with `fit = cover`."""
    cut: frozenset[Side]
    """Sides on which the source, or the region of interest, cuts the subject."""
    upscaled: float
    """Factor by which the subject is enlarged, at least 1."""


@dataclass(frozen=True)
class Drawn:
    """An output before it is encoded."""

    pixels: RgbImage | Cutout
    """(H, W, 3) uint8 opaque, or (H, W, 4) uint8 straight alpha; sRGB."""
    mask: Mask
    """(H, W) uint8: the subject's alpha on the canvas, before shadow and background."""
    placement: Placement
    fill: Mapping[str, float]
    """Measured share of the canvas, 0 to 1, by `longest_side`, `box_area` and `mask_area`."""
