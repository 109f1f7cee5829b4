"""Measure the quality figures of a mask.

Parts and holes are counted on a reduced mask, everything else comes from a histogram and from the
mask itself, so that all figures together cost about as much as one copy of the image.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from shared.job.spec import Json
from worker.imaging.types import Mask

SUBJECT_ABOVE: Final = 10
"""Mask values up to this one are haze, not part of the subject, for the subject's box."""
INSIDE_FROM: Final = 128
"""Mask values from this one on are inside the subject, for parts, holes and touched edges."""
SPECK_SHARE: Final = 0.0005
"""A part or hole below this share of the image is a speck (2,000 pixels of 2000 x 2000)."""
TOUCH_SHARE: Final = 0.01
"""An edge is touched if at least this share of it, and at least 2 pixels, is inside."""
REDUCED_PX: Final = 256
"""Parts and holes are counted on a mask reduced to at most this many cells per side."""

_SOFT: Final = slice(26, 230)
_SHADES: Final = np.arange(256, dtype=np.float64) / 255
_INNER: Final = _SHADES[1:-1]
_ENTROPY_BITS: Final = np.pad(-_INNER * np.log2(_INNER) - (1 - _INNER) * np.log2(1 - _INNER), 1)
"""Entropy of a pixel by its mask value; 0 for values 0 and 255."""
_MIN_TOUCHING_PX: Final = 2
_LONE_PIXEL_FACTOR: Final = 16
"""In larger squares a single pixel rounds to 0 and gets no label, so that it is a speck."""

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""
Edge: TypeAlias = Literal["left", "top", "right", "bottom"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Quality figures of one mask."""

    coverage: float
    """Mean of the mask, 0..1."""
    box: Box | None
    """Around all pixels above `SUBJECT_ABOVE`, without specks; None if there are none."""
    touches: tuple[Edge, ...]
    """Edges of the image that cut the subject."""
    soft: float
    """Share of the image's pixels that are neither background nor foreground (26..229)."""
    parts: int
    """Connected parts of the subject, without specks."""
    holes: int
    """Openings enclosed by the subject, without specks."""
    solid_px: int
    """Pixels that are inside the subject, specks included."""
    uncertainty: float
    """Mean entropy of the subject's pixels, 0 (all pixels 0 or 255) .. 1 (all at one half)."""
    low: float
    """Least value of the network's output before stretching, 0..1."""
    high: float
    """Greatest value of the network's output before stretching, 0..1."""

    def to_json(self) -> dict[str, Json]:
        """Return the figures for the image's record: under 300 bytes of JSON.

        `solid_px` only serves the verdict.
        """
        return {
            "coverage": round(self.coverage, 4),
            "box": None if self.box is None else list(self.box),
            "touches": list(self.touches),
            "soft": round(self.soft, 4),
            "parts": self.parts,
            "holes": self.holes,
            "uncertainty": round(self.uncertainty, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def measure(mask: Mask, *, low: float = 0.0, high: float = 1.0) -> Figures:
    """Return the figures of *mask*, (H, W) uint8.

    Args:
        mask: The final mask, as in the cutout.
        low: Least value of the network's output, 0..1, if known.
        high: Greatest value of it.
    """
    factor = _reduction(mask)
    # All rows of small masks; at most a fourth of large ones, which gives the same figures.
    rows = np.ascontiguousarray(mask[:: (factor + 1) // 2])
    shares = cv2.calcHist([rows], [0], None, [256], [0, 256]).reshape(-1) / rows.size
    subject = max(float(shares[SUBJECT_ABOVE + 1 :].sum()), 1 / rows.size)
    parts, holes = _parts_and_holes(mask, factor)
    return Figures(
        coverage=float(shares @ _SHADES),
        box=_subject_box(mask),
        touches=touched_edges(mask),
        soft=float(shares[_SOFT].sum()),
        parts=parts,
        holes=holes,
        solid_px=cv2.countNonZero(cv2.inRange(mask, INSIDE_FROM, 255)),
        uncertainty=min(1.0, float(shares @ _ENTROPY_BITS) / subject),
        low=float(low),
        high=float(high),
    )


def _reduced(mask: Mask, factor: int) -> Mask:
    """Return the means of *mask* over squares of *factor* pixels, a power of two.

    Squares that extend over the edge of the image repeat its last row or column.
    """
    below, right = -mask.shape[0] % factor, -mask.shape[1] % factor
    if below or right:
        mask = np.asarray(
            cv2.copyMakeBorder(mask, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8
        )
    while factor > 1:  # several times faster than one step
        size = mask.shape[1] // 2, mask.shape[0] // 2
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)
        factor //= 2
    return mask


def _parts_and_holes(mask: Mask, factor: int) -> tuple[int, int]:
    inside = cv2.inRange(_reduced(mask, factor), INSIDE_FROM, 255)
    least_px = max(1.0, SPECK_SHARE * inside.size)
    stats = cv2.connectedComponentsWithStats(inside)[2][1:]
    parts = int(np.count_nonzero(stats[:, cv2.CC_STAT_AREA] >= least_px))
    # 4-connected, because the inside is 8-connected: a diagonal line must not leak.
    outside = cv2.bitwise_not(inside)
    stats = cv2.connectedComponentsWithStats(outside, connectivity=4)[2][1:]
    left, top, width, height, area = stats.T
    enclosed = (left > 0) & (top > 0)
    enclosed &= (left + width < inside.shape[1]) & (top + height < inside.shape[0])
    return parts, int(np.count_nonzero(enclosed & (area >= least_px)))


def subject_pixels(mask: Mask) -> Mask:
    """Return 255 where *mask* is above `SUBJECT_ABOVE` and belongs to no speck, else 0."""
    factor = _reduction(mask)
    subject = np.asarray(cv2.inRange(mask, SUBJECT_ABOVE + 1, 255), np.uint8)
    cells = _reduced(subject, factor)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.inRange(cells, 1, 255))
    sizes_px = np.bincount(labels.ravel(), cells.ravel(), len(stats)) * factor**2 / 255
    keep = sizes_px >= SPECK_SHARE * mask.size
    keep[0] = False  # label 0 is the background
    if keep[1:].all() and factor <= _LONE_PIXEL_FACTOR:
        return subject
    kept = keep.astype(np.uint8)[labels].repeat(factor, 0).repeat(factor, 1)
    kept = np.ascontiguousarray(kept[: mask.shape[0], : mask.shape[1]])
    return np.asarray(cv2.copyTo(subject, kept), np.uint8)


def touched_edges(mask: Mask) -> tuple[Edge, ...]:
    """Return the edges of the image that cut the subject."""
    borders: dict[Edge, npt.NDArray[np.uint8]] = {
        "left": mask[:, 0],
        "top": mask[0],
        "right": mask[:, -1],
        "bottom": mask[-1],
    }
    return tuple(
        edge
        for edge, border in borders.items()
        if np.count_nonzero(border >= INSIDE_FROM)
        >= max(_MIN_TOUCHING_PX, TOUCH_SHARE * border.size)
    )


def _subject_box(mask: Mask) -> Box | None:
    left, top, width, height = cv2.boundingRect(subject_pixels(mask))
    return (left, top, width, height) if width else None


def _reduction(mask: Mask) -> int:
    """Return the factor, a power of two, by which *mask* is reduced to count parts."""
    return int(2 ** max(0, math.ceil(math.log2(max(mask.shape) / REDUCED_PX))))
