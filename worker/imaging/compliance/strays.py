"""Find the pixels outside a mask that are not white.

Lossy formats encode blocks, and nothing of a subject strays beyond the blocks that it lies in.
So blocks are compared as a whole, eight bytes at a time, and single pixels only where that does
not decide: in the blocks that the mask's edge crosses, and in those that should be white.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.quality import SUBJECT_ABOVE
from worker.imaging.types import Mask, RgbImage

DARK_BELOW: Final = 235
"""Values below this one are visible beside white."""
_ALL_ONES: Final = np.uint64(2**64 - 1)
_NEIGHBOURS: Final = np.ones((3, 3), np.uint8)
_HAZE_SHARE: Final = 0.02
"""Of the blocks: fine hair fades into less haze than this when it is made smaller."""

Blocks: TypeAlias = npt.NDArray[np.bool_]
"""One value for each block, (rows, columns)."""


@dataclass(frozen=True)
class Strays:
    """Pixels outside the mask that are not white; *near* is in a block that the mask crosses."""

    far_px: int
    """Further than the distance, and below the level."""
    far_least: int
    """Least value of these; 255 if there are none."""
    near_dark_share: float
    """Share of the pixels within the distance that are below `DARK_BELOW`."""
    near_least: int
    """Least value of a pixel near the mask."""


def find_strays(
    pixels: RgbImage, mask: Mask, *, block_px: int, distance_px: int, level: int, share: float
) -> Strays:
    """Return what is not white outside *mask*.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) uint8; widespread haze (up to `SUBJECT_ABOVE`) counts beside the subject only.
        block_px: Side of the blocks of the format, a multiple of 8.
        distance_px: Distance from the mask beyond which pixels are to reach *level*; greater than
            a block's diagonal, or 0.
        level: Least value that counts as white there.
        share: Of dark pixels near the mask, up to which it need not be measured exactly.
    """
    grid = _Grid.of(pixels, mask, block_px)
    edges = grid.tiles(grid.covered & ~grid.opaque & ~grid.white)
    values = edges.least[edges.mask == 0]
    dark_px = int(np.count_nonzero(values < DARK_BELOW))
    near_px = max(1, grid.count_near())
    if dark_px > share * near_px and distance_px:
        distances = grid.distances()
        near_px = int(np.count_nonzero((distances > 0) & (distances <= distance_px)))
    strays = grid.beyond(distance_px, level)
    return Strays(
        far_px=strays.size,
        far_least=int(strays.min(initial=255)),
        near_dark_share=dark_px / max(1, near_px),
        near_least=int(values.min(initial=255)),
    )


@dataclass(frozen=True)
class _Tiles:
    """Some blocks of an image."""

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    least: npt.NDArray[np.uint8]
    """(n, block, block): least of a pixel's channels."""
    mask: npt.NDArray[np.uint8]
    """(n, block, block)."""


@dataclass(frozen=True)
class _Grid:
    """An image and its mask, divided into blocks from the top left corner."""

    pixels: RgbImage
    mask: Mask
    block_px: int
    white: Blocks
    """All of the block's pixels are white."""
    opaque: Blocks
    """All of the block's pixels are opaque in the mask."""
    covered: Blocks
    """Some of the block's pixels are in the mask."""

    @classmethod
    def of(cls, pixels: RgbImage, mask: Mask, block_px: int) -> "_Grid":
        pixels, mask = _whole_blocks(pixels, mask, block_px)
        return cls(
            pixels,
            mask,
            block_px,
            white=_reduced(np.bitwise_and, pixels, block_px) == _ALL_ONES,
            opaque=_reduced(np.bitwise_and, mask, block_px) == _ALL_ONES,
            covered=_covered(mask, block_px),
        )

    def tiles(self, chosen: Blocks) -> _Tiles:
        """Return the *chosen* blocks."""
        rows, columns = np.nonzero(chosen)
        side = self.block_px
        shape = (len(self.mask) // side, side, self.mask.shape[1] // side, side)
        # Channel by channel: numpy is slow at reducing an axis of three.
        first, second, third = (
            self.pixels[..., n].reshape(shape)[rows, :, columns] for n in range(3)
        )
        least = np.minimum(np.minimum(first, second), third)
        return _Tiles(rows, columns, least, self.mask.reshape(shape)[rows, :, columns])

    def beyond(self, distance_px: int, level: int) -> npt.NDArray[np.uint8]:
        """Return the values below *level* of pixels further than *distance_px* from the mask."""
        far = self.tiles(~self.covered & ~self.white)
        block, row, column = np.nonzero(far.least < level)
        values = far.least[block, row, column]
        if not distance_px or not values.size:
            return values
        rows = far.rows[block] * self.block_px + row
        columns = far.columns[block] * self.block_px + column
        # Smooth upsampling of colours strays one pixel further than the block.
        is_beyond = ~self._is_covered(rows, columns, 1)
        if is_beyond.any():
            is_beyond &= self.distances()[rows, columns] > distance_px
        return values[is_beyond]

    def _is_covered(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], reach_px: int
    ) -> Blocks:
        """Return which pixels have a covered block at most *reach_px* away."""
        height, width = self.mask.shape
        found = np.zeros(rows.shape, np.bool_)
        for down in (-reach_px, reach_px):
            for right in (-reach_px, reach_px):
                at_row = np.clip(rows + down, 0, height - 1) // self.block_px
                at_column = np.clip(columns + right, 0, width - 1) // self.block_px
                found |= self.covered[at_row, at_column]
        return found

    def count_near(self) -> int:
        """Return how many pixels outside the mask are in a block that it crosses."""
        covered_px = int(np.count_nonzero(self.covered)) * self.block_px**2
        return covered_px - cv2.countNonZero(self.mask)

    def distances(self) -> npt.NDArray[np.float32]:
        """Return the distance of each pixel from the mask, in pixels; slow."""
        covered = self.covered.repeat(self.block_px, 0).repeat(self.block_px, 1)
        outside = ~(covered & (self.mask > 0))
        return np.asarray(
            cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
            np.float32,
        )


def _covered(mask: Mask, block_px: int) -> Blocks:
    """Return the blocks that hold some of the mask, without haze if that is widespread."""
    covered: Blocks = _reduced(np.bitwise_or, mask, block_px) != 0
    subject = np.asarray(cv2.inRange(mask, SUBJECT_ABOVE + 1, 255), np.uint8)
    has_subject = _reduced(np.bitwise_or, subject, block_px) != 0
    beside = cv2.dilate(has_subject.astype(np.uint8), _NEIGHBOURS).astype(np.bool_)
    is_hazy = np.count_nonzero(covered & ~beside) > _HAZE_SHARE * covered.size
    return covered & beside if is_hazy else covered


def _whole_blocks(pixels: RgbImage, mask: Mask, block_px: int) -> tuple[RgbImage, Mask]:
    """Return both with white added at the right and at the bottom, to whole blocks."""
    below, right = -mask.shape[0] % block_px, -mask.shape[1] % block_px
    if below or right:
        ends = (0, below, 0, right, cv2.BORDER_CONSTANT)
        pixels = np.asarray(cv2.copyMakeBorder(pixels, *ends, value=(255,) * 3), np.uint8)
        mask = np.asarray(cv2.copyMakeBorder(mask, *ends, value=0), np.uint8)
    return np.ascontiguousarray(pixels), np.ascontiguousarray(mask)


def _reduced(
    operation: np.ufunc, values: npt.NDArray[np.uint8], block_px: int
) -> npt.NDArray[np.uint64]:
    """Return *operation* over the bytes of each block, eight of them in a word."""
    rows = len(values) // block_px
    words = values.reshape(rows, block_px, -1).view(np.uint64)
    columns = values.shape[1] // block_px
    of_rows = operation.reduce(words, axis=1).reshape(rows, columns, -1)
    return np.asarray(operation.reduce(of_rows, axis=2), np.uint64)
