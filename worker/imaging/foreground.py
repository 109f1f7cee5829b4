"""Foreground colours of the soft edge, so that no old background shines through a cutout.

A picture is ``I = a F + (1 - a) B``: alpha ``a``, foreground ``F``, background ``B``. The method is
Blur-Fusion (Forte 2021, doi 10.1109/ICIP42928.2021.9506164): guess ``F`` and ``B`` as box averages
of their surroundings, then share out what the guess does not explain. Three things differ from the
paper, each for less error on made pictures with known layers (``docs/quality.md``):

* the residue goes to both layers by least squares, ``a / (a^2 + (1 - a)^2)`` of it to ``F`` and
  ``(1 - a) / (a^2 + (1 - a)^2)`` to ``B``, so that the equation holds after every pass;
* a pixel's vote for ``F`` weighs ``a^2`` and for ``B`` ``(1 - a)^2``, since mixed pixels know less;
* four radii, about 90, 20, 8 and 3 pixels, in place of 90 and 6. The two wide passes see every
  fourth pixel of every fourth row: wide averages hardly change, at a sixteenth of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.types import Mask, RgbImage

STRIDE_PX: Final = 4
"""The wide passes see every fourth pixel of every fourth row."""
WIDE_RADII: Final = (22, 5)
"""In strides: 90 and 20 pixels of the picture, nearly."""
NEAR_RADII_PX: Final = (8, 3)
PADDING_PX: Final = sum(NEAR_RADII_PX)
"""How far away a pixel can be and still matter to the near passes."""
BAND_PX: Final = 128
"""Height of a tile."""
CLEAR: Final = 3
"""Up to this alpha a pixel counts as pure background ..."""
SOLID: Final = 252
"""... and from this one on as pure foreground: a network's masks are seldom exactly 0 or 255, and
the source's colour is wrong there by 3 of 255 at most."""

_Colours: TypeAlias = npt.NDArray[np.float32]
"""``(3, N)`` float32, 0..255: a colour for each soft pixel, by channel (numpy is slow along 3)."""
_Votes: TypeAlias = npt.NDArray[np.uint16]
"""``(h, w, 4)`` uint16: colour times weight, and the weight (0..255)."""
_Sums: TypeAlias = npt.NDArray[np.int32]
"""``(h, w, 4)`` int32: votes summed over a box."""


def foreground(image: RgbImage, mask: Mask) -> RgbImage:
    """Return *image* with estimated foreground colours where *mask* is soft.

    Elsewhere the colours are the source's. The near passes run on tiles around soft pixels, padded
    so that the result is, bit for bit, that of one tile as large as the picture. Memory beyond the
    returned copy: an eighth of the picture's, and one tile.
    """
    colours = np.array(image, order="C")
    tiles = list(_tiles(_between(mask, CLEAR + 1, SOLID - 1), BAND_PX))
    if tiles:
        guess = _wide_sums(image, mask)
    for tile in tiles:
        _estimate(image, mask, tile, guess, colours)
    return colours


@dataclass(frozen=True)
class _Tile:
    """A rectangle with soft pixels in it: rows ``top:bottom``, columns ``left:right``."""

    top: int
    bottom: int
    left: int
    right: int

    def padded(self, height: int, width: int) -> _Tile:
        """Return the tile with `PADDING_PX` on every side, as far as the picture goes."""
        return _Tile(
            max(0, self.top - PADDING_PX),
            min(height, self.bottom + PADDING_PX),
            max(0, self.left - PADDING_PX),
            min(width, self.right + PADDING_PX),
        )


def _tiles(soft: Mask, band_px: int) -> Iterator[_Tile]:
    """Yield rectangles that hold all soft pixels (non-zero in *soft*), each pixel once."""
    for top in range(0, len(soft), band_px):
        band = soft[top : top + band_px]
        columns = np.flatnonzero(band.max(axis=0))
        if columns.size:
            # Nearer runs than this would overlap in their padding: one tile costs less.
            gaps = np.flatnonzero(np.diff(columns) > 2 * PADDING_PX) + 1
            for run in np.split(columns, gaps):
                yield _Tile(top, top + len(band), int(run[0]), int(run[-1]) + 1)


class _Layers:
    """What the pixels of a region say about foreground and background.

    Args:
        image: The region, (h, w, 3).
        mask: Its mask, (h, w).
    """

    def __init__(self, image: RgbImage, mask: Mask) -> None:
        self.at = np.flatnonzero(_between(mask, CLEAR + 1, SOLID - 1))
        """Flat indexes of the soft pixels."""
        self.source: _Colours = _planes(image.reshape(-1, 3).take(self.at, axis=0))
        alpha = mask.reshape(-1).take(self.at).astype(np.float32) / 255
        self._alpha = alpha
        power = alpha**2 + (1 - alpha) ** 2
        self._shares = alpha / power, (1 - alpha) / power
        # Never without a vote: a soft pixel must at least hear itself.
        self._weights = np.ceil(255 * alpha**2), np.ceil(255 * (1 - alpha) ** 2)
        self._votes = (
            _hard_votes(image, _between(mask, SOLID, 255)),
            _hard_votes(image, _between(mask, 0, CLEAR)),
        )

    def vote(self, layers: tuple[_Colours, _Colours]) -> None:
        """Let the soft pixels vote for these colours of foreground and background."""
        for votes, weight, colours in zip(self._votes, self._weights, layers, strict=True):
            ballots = np.empty((len(weight), 4), np.uint16)
            ballots[:, :3] = (np.rint(colours) * weight).T
            ballots[:, 3] = weight
            # Seen as one number of eight bytes a pixel, numpy writes them at a third of the cost.
            votes.reshape(-1, 4).view(np.uint64)[self.at] = ballots.view(np.uint64)

    def sums(self, radius: int) -> tuple[_Sums, _Sums]:
        """Return both layers' votes, summed over boxes of ``2 * radius + 1`` pixels a side."""
        fore, back = (_box_sums(votes, radius) for votes in self._votes)
        return fore, back

    def share(
        self, sums: tuple[_Sums, _Sums], at: npt.NDArray[np.intp] | None = None
    ) -> tuple[_Colours, _Colours]:
        """Return the layers' colours from *sums*, read at the flat indexes *at* (default: `at`).

        What the averages leave unexplained of the source's colour goes to both, by least squares.
        """
        where = self.at if at is None else at
        guesses = _average(sums[0], where, self.source), _average(sums[1], where, self.source)
        rest = self.source - self._alpha * guesses[0] - (1 - self._alpha) * guesses[1]
        fore, back = (
            np.clip(guess + share * rest, 0, 255, dtype=np.float32)
            for guess, share in zip(guesses, self._shares, strict=True)
        )
        return fore, back


def _between(mask: Mask, low: int, high: int) -> Mask:
    """Return 255 where *mask* is *low* to *high*, both included, else 0."""
    return np.asarray(cv2.inRange(mask, low, high), np.uint8)


def _hard_votes(image: RgbImage, where: Mask) -> _Votes:
    """Return votes of full weight for the source's colour where *where* is 255, else none."""
    ones = np.ones(where.shape, np.uint8)
    chosen = cv2.copyTo(cv2.merge([image, ones]), where)
    votes: _Votes = np.multiply(chosen, np.uint16(255), dtype=np.uint16)
    return votes


def _box_sums(votes: _Votes, radius: int) -> _Sums:
    side = 2 * radius + 1
    sums = cv2.boxFilter(
        votes, cv2.CV_32S, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(sums, np.int32)


def _planes(pixels: npt.NDArray[np.uint8] | _Sums) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(pixels.T, dtype=np.float32)


def _average(sums: _Sums, at: npt.NDArray[np.intp], source: _Colours) -> _Colours:
    """Return the average of the votes; the source's colour where nobody voted."""
    few = np.float32(1e-3)
    totals = _planes(sums.reshape(-1, 4).take(at, axis=0))
    average: _Colours = (totals[:3] + few * source) / (totals[3] + few)
    return average


def _wide_sums(image: RgbImage, mask: Mask) -> tuple[_Sums, _Sums]:
    """Return the votes after the wide passes, summed over the last wide box, one for a stride."""
    every = slice(None, None, STRIDE_PX)
    layers = _Layers(
        np.ascontiguousarray(image[every, every]), np.ascontiguousarray(mask[every, every])
    )
    layers.vote((layers.source, layers.source))
    *widest, last = WIDE_RADII
    for radius in widest:
        layers.vote(layers.share(layers.sums(radius)))
    return layers.sums(last)


def _estimate(
    image: RgbImage, mask: Mask, tile: _Tile, guess: tuple[_Sums, _Sums], colours: RgbImage
) -> None:
    """Write the foreground colours of the soft pixels of *tile* into *colours*."""
    around = tile.padded(*mask.shape)
    rect = np.s_[around.top : around.bottom, around.left : around.right]
    layers = _Layers(np.ascontiguousarray(image[rect]), np.ascontiguousarray(mask[rect]))
    rows, columns = np.divmod(layers.at, around.right - around.left)
    rows += around.top
    columns += around.left
    strides_a_row = guess[0].shape[1]
    found = layers.share(guess, rows // STRIDE_PX * strides_a_row + columns // STRIDE_PX)
    for radius in NEAR_RADII_PX:
        layers.vote(found)
        found = layers.share(layers.sums(radius))
    inside = (
        (rows >= tile.top) & (rows < tile.bottom) & (columns >= tile.left) & (columns < tile.right)
    )
    flat = rows[inside] * mask.shape[1] + columns[inside]
    colours.reshape(-1, 3)[flat] = np.rint(found[0][:, inside]).T.astype(np.uint8)
