"""Find a sudden change of colour in a JPEG that no decoder warns of.

A JPEG stores the mean of a block as the difference from the block before. If damage changes one
difference and the decoder finds its way back, all later blocks are too bright, too dark or tinted.
The first of them begins in the middle of a row of blocks: above it and all later blocks of its row,
and above all blocks of the next row that precede its column, the colour jumps by the same amount;
beside these it does not. No content looks like that: an edge in the image would have to follow the
grid of blocks over the whole width, and to move by one row of blocks at one place.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.decode.damage import Findings
from worker.imaging.decode.jpeg_layout import Layout
from worker.imaging.types import RgbImage

DOUBT: Final = "the colour jumps between two rows of blocks, as it does after damage"

_MIN_COLUMNS: Final = 16
_MIN_ROWS: Final = 6
_SAMPLES: Final = 4
"""Pixels of a block's edge that are compared."""
_MIN_SHARE: Final = 0.6
"""Share of blocks with a jump where it is expected, less the share where it is not."""
_MIN_STEP: Final = 3.0
"""Levels, of 255."""
_MIN_QUANTA: Final = 0.25
"""Levels for each unit of the quantisation step: twice the step between two means of blocks. A
smooth background at low quality has jumps of one step, and they may follow the grid."""
_MIN_EVEN: Final = 0.7
"""Share of these jumps that are of about one height."""
_MAX_ELSEWHERE: Final = 0.12
"""Share of blocks with such a jump in the rest of the image. Patterns have many."""
_MAX_BACK: Final = 0.3
"""Share of blocks with a jump back in one of the next two rows."""
_MAX_EDGE: Final = 0.2
"""Share of pixels below the place that are on an edge, more than beside it."""
_MARGIN: Final = 10
"""A part of a row that is shorter than this fraction of it proves nothing."""
_CLIP: Final = 60.0
_MAX_DIFFERENCE: Final = 0.5

_Jumps = npt.NDArray[np.float64]


def find_steps(pixels: RgbImage, layout: Layout) -> Findings:
    """Return a doubt if a change of colour begins within a row of blocks.

    Args:
        pixels: ``(H, W, channels)`` uint8, as decoded, before any rotation.
        layout: Of the file.
    """
    if layout.is_arithmetic:  # after damage, everything differs
        return Findings()
    across, down = layout.unit_px
    rows, columns = (pixels.shape[0] - 2) // down, pixels.shape[1] // across
    if columns < _MIN_COLUMNS or rows < _MIN_ROWS:
        return Findings()
    jumps = _jumps(pixels, rows, columns, layout.unit_px)
    steps = (layout.least_steps() * 3)[:3]  # luma, then two of colour
    coarsest = max(_MIN_STEP, _MIN_QUANTA * max(steps))
    for channel, step in zip((0, 2, 1), steps, strict=True):  # OpenCV's order is Y, Cr, Cb
        least = max(_MIN_STEP, _MIN_QUANTA * step)
        for sign in (1, -1):
            place = _best_place(sign * jumps[channel], least)
            if (
                place
                and _is_step(sign * jumps[channel], place)
                and not _is_edge_below(pixels, place, layout.unit_px, coarsest)
            ):
                return Findings(doubts=(DOUBT,))
    return Findings()


@dataclass(frozen=True)
class _Sums:
    """Sums of values in a row of blocks, of ranges of blocks in the order of the file."""

    running: _Jumps

    @classmethod
    def of(cls, values: npt.NDArray[np.float32] | npt.NDArray[np.bool_]) -> "_Sums":
        return cls(np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]))

    def mean(self, start: npt.NDArray[np.intp], end: npt.NDArray[np.intp]) -> _Jumps:
        total = self.running[end] - self.running[start]
        return np.asarray(total / np.maximum(end - start, 1), np.float64)


def _jumps(
    pixels: RgbImage, rows: int, columns: int, unit_px: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Return the jump of colour above each block but the first row's, ``(Y Cr Cb, rows, columns)``.

    It is the difference across the edge of the block less the slopes on both sides of it, the
    median of `_SAMPLES` places.
    """
    across, down = unit_px
    size = columns * _SAMPLES, rows
    lines = [
        # Takes the pixel in the middle of each sample's columns.
        cv2.resize(
            pixels[down + offset :: down, : columns * across][:rows],
            size,
            interpolation=cv2.INTER_NEAREST_EXACT,
        )
        for offset in (-2, -1, 0, 1)
    ]
    chosen = np.asarray(np.stack(lines), np.uint8).reshape(1, -1, pixels.shape[2])
    samples = _luma_and_colour(chosen).reshape(len(lines), rows, columns, _SAMPLES, 3)
    upper, above, below, lower = np.ascontiguousarray(samples.transpose(0, 3, 4, 1, 2))
    jumps = 3 * (below - above) + upper - lower
    a, b, c, d = jumps
    # The sum of the two in the middle; each is twice a jump.
    middle = np.maximum(np.minimum(a, b), np.minimum(c, d))
    middle += np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.asarray(middle * np.float32(0.25), np.float32)


def _luma_and_colour(lines: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    # Any three inks do as well as red, green and blue.
    lines = np.ascontiguousarray(lines[..., :3]) if lines.shape[2] > 1 else lines.repeat(3, 2)
    return np.asarray(cv2.cvtColor(lines, cv2.COLOR_RGB2YCrCb), np.int16)


def _best_place(jumps: npt.NDArray[np.float32], least: float) -> tuple[int, int] | None:
    """Return where a change of at least *least* may begin: row and column of a block."""
    rows, columns = jumps.shape
    is_hit = jumps > least / 2
    if np.count_nonzero(is_hit) < _MIN_SHARE * columns:
        return None
    hits = _Sums.of(is_hit.ravel())
    margin = max(3, columns // _MARGIN)
    row, column = np.mgrid[: rows - 1, margin : columns - margin + 1]
    start = row * columns  # of the row in which the change begins
    first, middle, last = start + column, start + columns, start + columns + column
    inside = np.minimum(hits.mean(first, middle), hits.mean(middle, last))
    outside = np.maximum(hits.mean(start, first), hits.mean(last, middle + columns))
    is_place = inside - outside >= _MIN_SHARE
    if not is_place.any():
        return None
    heights = _Sums.of(jumps.clip(-_CLIP, _CLIP).ravel())
    right, left = heights.mean(first, middle), heights.mean(middle, last)
    is_one_step = np.abs(right - left) <= _MAX_DIFFERENCE * np.maximum(right, left)
    is_high = np.minimum(right, left) >= least
    shares = np.where(is_one_step & is_high & is_place, inside - outside, 0)
    best = int(shares.argmax())
    return (int(row.flat[best]), int(column.flat[best])) if shares.flat[best] else None


def _is_step(jumps: npt.NDArray[np.float32], place: tuple[int, int]) -> bool:
    """Return whether the jumps at *place* are of one height, last, and are rare in the rest."""
    columns = jumps.shape[1]
    first = place[0] * columns + place[1]
    last = first + columns
    inside, outside = jumps.flat[first:last], np.delete(jumps, np.s_[first:last])
    height = np.median(inside)
    is_even = float((np.abs(inside - height) <= height / 2).mean()) >= _MIN_EVEN
    # A bar of one or two rows of blocks ends with jumps in the other direction.
    after = (jumps.flat[end : end + columns] for end in (last, last + columns))
    is_bar = any((row < -height / 2).mean() > _MAX_BACK for row in after if row.size)
    return is_even and not is_bar and float((outside > height / 2).mean()) <= _MAX_ELSEWHERE


def _is_edge_below(
    pixels: RgbImage, place: tuple[int, int], unit_px: tuple[int, int], least: float
) -> bool:
    """Return whether an edge goes down from *place*, as between two images side by side.

    Damage changes both sides of this line below the row in which it begins.
    """
    top, left = (place[0] + 3) * unit_px[1], place[1] * unit_px[0]
    if top >= len(pixels):
        return False
    shares = []
    for column in (-2, -1, 0, 1, 2):
        at = left + column * unit_px[0]
        a, b, c, d = np.moveaxis(_luma_and_colour(pixels[top:, at - 2 : at + 2]), 1, 0)
        jumps = np.abs(2 * (c - b) - (b - a) - (d - c)).max(axis=1)
        shares.append(float((jumps > 2 * least).mean()))
    return shares[2] - float(np.median(shares)) > _MAX_EDGE
