"""Estimate foreground colours along soft edges, so that the old background does not show.

An image is ``I = a F + (1 - a) B``: alpha ``a``, foreground ``F``, background ``B``. The method is
Blur-Fusion (Forte 2021, doi 10.1109/ICIP42928.2021.9506164): estimate ``F`` and ``B`` as box
averages of their surroundings, then distribute the residue. It differs from the paper in three
points, each of which lowers the error on synthetic images with known layers (``docs/quality.md``):

* the residue goes to both layers by least squares, ``a / (a^2 + (1 - a)^2)`` of it to ``F`` and
  ``(1 - a) / (a^2 + (1 - a)^2)`` to ``B``, so that the equation holds after every pass;
* a pixel has weight ``a^2`` in ``F`` and ``(1 - a)^2`` in ``B``, as mixed pixels are less reliable;
* four radii, about 90, 20, 8 and 3 pixels, instead of 90 and 6. The two wide passes use every
  fourth pixel of every fourth row: wide averages hardly change, at a sixteenth of the cost.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np

from worker.imaging.layers import Layers, Sums, soft_pixels
from worker.imaging.types import Mask, RgbImage

STRIDE_PX: Final = 4
"""The wide passes use every fourth pixel of every fourth row."""
WIDE_RADII: Final = (22, 5)
"""In strides: about 90 and 20 pixels of the image."""
NEAR_RADII_PX: Final = (8, 3)
PADDING_PX: Final = sum(NEAR_RADII_PX)
"""Greatest distance at which one pixel affects another in the near passes."""
BAND_PX: Final = 128
"""Height of a tile."""

_Tile: TypeAlias = tuple[slice, slice]
"""Rows and columns of a rectangle that contains soft pixels."""


def foreground(image: RgbImage, mask: Mask, *, band_px: int = BAND_PX) -> RgbImage:
    """Return *image* with estimated foreground colours where *mask* is soft.

    Elsewhere the colours are those of *image*. The near passes run on tiles around soft pixels,
    padded so that the result is bit for bit that of a single tile. Memory beyond the returned copy:
    an eighth of the image's, and one tile.

    Args:
        image: (H, W, 3) uint8; not changed.
        mask: (H, W) uint8.
        band_px: Height of a tile; does not change the result.
    """
    colours = np.array(image, order="C")
    tiles = list(_tiles(soft_pixels(mask), band_px))
    if tiles:
        guess = _wide_sums(image, mask)
    for tile in tiles:
        _estimate(image, mask, tile, guess, colours)
    return colours


def _tiles(soft: Mask, band_px: int) -> Iterator[_Tile]:
    """Yield rectangles that cover all soft pixels (non-zero in *soft*), each pixel once."""
    for top in range(0, len(soft), band_px):
        band = soft[top : top + band_px]
        columns = np.flatnonzero(band.max(axis=0))
        if columns.size:
            # The padding of closer runs would overlap: one tile costs less.
            gaps = np.flatnonzero(np.diff(columns) > 2 * PADDING_PX) + 1
            for run in np.split(columns, gaps):
                yield slice(top, top + len(band)), slice(int(run[0]), int(run[-1]) + 1)


def _wide_sums(image: RgbImage, mask: Mask) -> tuple[Sums, Sums]:
    """Return the layers after the wide passes, summed over the last wide box, one per stride."""
    every = slice(None, None, STRIDE_PX)
    layers = Layers(
        np.ascontiguousarray(image[every, every]), np.ascontiguousarray(mask[every, every])
    )
    layers.assign((layers.source, layers.source))
    *widest, last = WIDE_RADII
    for radius in widest:
        layers.assign(layers.estimate(layers.sums(radius)))
    return layers.sums(last)


def _estimate(
    image: RgbImage, mask: Mask, tile: _Tile, guess: tuple[Sums, Sums], colours: RgbImage
) -> None:
    """Write the foreground colours of the soft pixels of *tile* into *colours*."""
    around = tuple(
        slice(max(0, span.start - PADDING_PX), min(size, span.stop + PADDING_PX))
        for span, size in zip(tile, mask.shape, strict=True)
    )
    layers = Layers(np.ascontiguousarray(image[around]), np.ascontiguousarray(mask[around]))
    rows, columns = np.divmod(layers.at, around[1].stop - around[1].start)
    rows += around[0].start
    columns += around[1].start
    strides_per_row = guess[0].shape[1]
    found = layers.estimate(guess, rows // STRIDE_PX * strides_per_row + columns // STRIDE_PX)
    for radius in NEAR_RADII_PX:
        layers.assign(found)
        found = layers.estimate(layers.sums(radius))
    inside = (rows >= tile[0].start) & (rows < tile[0].stop)
    inside &= (columns >= tile[1].start) & (columns < tile[1].stop)
    flat = rows[inside] * mask.shape[1] + columns[inside]
    colours.reshape(-1, 3)[flat] = np.rint(found[0][:, inside]).T.astype(np.uint8)
