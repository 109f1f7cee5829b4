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
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.layers import Layers, Sums, Window, soft_pixels
from worker.imaging.types import Mask, RgbImage

STRIDE_BITS: Final = 2
STRIDE_PX: Final = 1 << STRIDE_BITS
"""The wide passes use every fourth pixel of every fourth row."""
WIDE_RADII: Final = (22, 5)
"""In strides: about 90 and 20 pixels of the image."""
NEAR_RADII_PX: Final = (8, 3)
PADDING_PX: Final = sum(NEAR_RADII_PX)
"""Greatest distance at which one pixel affects another in the near passes."""
BAND_PX: Final = 96
"""Height of a tile. Lower tiles have more padding, higher ones more pixels far from soft ones; of
32, 64, 96 and 128 the fastest."""
GROUP_PX: Final = 1 << 16
"""Pixels of tiles that are estimated in one go: fewer calls for small tiles, and the arrays of a
group still fit the cache."""


def foreground(image: RgbImage, mask: Mask, *, band_px: int = BAND_PX) -> RgbImage:
    """Return *image* with estimated foreground colours where *mask* is soft.

    Elsewhere the colours are those of *image*. The near passes run on tiles around soft pixels,
    padded so that the result is bit for bit that of a single tile. Memory beyond the returned copy:
    an eighth of the image's, and one group of tiles.

    Args:
        image: (H, W, 3) uint8; not changed.
        mask: (H, W) uint8.
        band_px: Height of a tile; does not change the result.
    """
    colours = np.array(image, order="C")
    flat = colours.reshape(-1, 3)
    for at, estimated in soft_colours(image, mask, band_px=band_px):
        flat[at] = estimated
    return colours


def soft_colours(
    image: RgbImage, mask: Mask, *, band_px: int = BAND_PX
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]]:
    """Yield flat indexes of soft pixels and their foreground colours, ``(N, 3)`` uint8.

    Each soft pixel comes once. For the arguments, see `foreground`.
    """
    groups = list(_groups(_tiles(soft_pixels(mask), band_px)))
    if groups:
        guess = _wide_sums(image, mask)
    for tiles in groups:
        yield _estimate(image, mask, tiles, guess)


def _tiles(soft: Mask, band_px: int) -> Iterator[Window]:
    """Yield rectangles that cover all soft pixels (non-zero in *soft*), each pixel once."""
    for top in range(0, len(soft), band_px):
        band = soft[top : top + band_px]
        columns = np.flatnonzero(band.max(axis=0))
        if columns.size:
            # The padding of closer runs would overlap: one tile costs less.
            gaps = np.flatnonzero(np.diff(columns) > 2 * PADDING_PX) + 1
            for run in np.split(columns, gaps):
                yield slice(top, top + len(band)), slice(int(run[0]), int(run[-1]) + 1)


def _groups(tiles: Iterator[Window]) -> Iterator[list[Window]]:
    """Yield *tiles* in groups of about `GROUP_PX` pixels."""
    group: list[Window] = []
    pixels = 0
    for rows, columns in tiles:
        group.append((rows, columns))
        pixels += (rows.stop - rows.start) * (columns.stop - columns.start)
        if pixels >= GROUP_PX:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _wide_sums(image: RgbImage, mask: Mask) -> tuple[Sums, Sums]:
    """Return the layers after the wide passes, summed over the last wide box, one per stride."""
    every = slice(None, None, STRIDE_PX)
    small = np.ascontiguousarray(image[every, every]), np.ascontiguousarray(mask[every, every])
    layers = Layers(*small, [(slice(None), slice(None))])
    layers.assign((layers.source.copy(), layers.source.copy()))
    *widest, last = WIDE_RADII
    for radius in widest:
        layers.assign(layers.estimate(layers.sums(radius)))
    return layers.all_sums(last)


def _estimate(
    image: RgbImage, mask: Mask, tiles: list[Window], guess: tuple[Sums, Sums]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return flat indexes and foreground colours of the soft pixels of *tiles*."""
    height, width = mask.shape
    padded = [(_padded(rows, height), _padded(columns, width)) for rows, columns in tiles]
    layers = Layers(image, mask, padded)
    at, strides, is_inside = _places(tiles, padded, layers, width)
    found = layers.estimate((guess[0].take(strides, axis=0), guess[1].take(strides, axis=0)))
    for radius in NEAR_RADII_PX:
        layers.assign(found)
        found = layers.estimate(layers.sums(radius))
    planes = np.rint(found[0], out=found[0]).astype(np.uint8)
    colours = np.asarray(cv2.merge(list(planes)), np.uint8).reshape(-1, 3)
    return at.compress(is_inside), colours.compress(is_inside, axis=0)


def _padded(span: slice, size: int) -> slice:
    return slice(max(0, span.start - PADDING_PX), min(size, span.stop + PADDING_PX))


def _places(
    tiles: list[Window], padded: list[Window], layers: Layers, width: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return where each soft pixel of *layers* is.

    That is its flat index in the image, the one of its stride in the reduced image, and whether it
    lies in its tile and not only in the padding.
    """
    at, strides = np.empty_like(layers.at), np.empty_like(layers.at)
    is_inside = np.empty(at.shape, np.bool_)
    strides_per_row = -(-width // STRIDE_PX)
    for tile, window, region in zip(tiles, padded, layers.regions, strict=True):
        index = region.at.astype(np.int32)
        row = index // region.shape[1]
        column = index - row * region.shape[1] + window[1].start
        row += window[0].start
        at[region.soft] = row * width + column
        strides[region.soft] = (row >> STRIDE_BITS) * strides_per_row + (column >> STRIDE_BITS)
        is_inside[region.soft] = _is_within(row, tile[0]) & _is_within(column, tile[1])
    return at, strides, is_inside


def _is_within(positions: npt.NDArray[np.int32], span: slice) -> npt.NDArray[np.bool_]:
    within: npt.NDArray[np.bool_] = (positions >= span.start) & (positions < span.stop)
    return within
