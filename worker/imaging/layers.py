"""Estimate the colours of foreground and background in one region of an image.

See `worker.imaging.foreground` for the method.
"""

from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from worker.imaging.types import Mask, RgbImage

CLEAR: Final = 3
"""Greatest alpha of a pixel that counts as pure background."""
SOLID: Final = 252
"""Least alpha of a pixel that counts as pure foreground. Networks seldom return exactly 0 or 255;
the source's colour is off by at most 3 of 255 there."""

Colours: TypeAlias = npt.NDArray[np.float32]
"""``(3, N)`` float32, 0..255: one colour per soft pixel, by channel (numpy is slow along 3)."""
Sums: TypeAlias = npt.NDArray[np.int32]
"""``(h, w, 4)`` int32: weighted colours and weights, summed over a box."""
_Weighted: TypeAlias = npt.NDArray[np.uint16]
"""``(h, w, 4)`` uint16: colour times weight, and the weight (0..255)."""


class Layers:
    """Colours of the foreground and the background layer of a region, with their weights.

    Args:
        image: The region, (h, w, 3).
        mask: Its mask, (h, w).
    """

    def __init__(self, image: RgbImage, mask: Mask) -> None:
        self.at = np.flatnonzero(soft_pixels(mask))
        """Flat indexes of the soft pixels."""
        self.source: Colours = _planes(image.reshape(-1, 3).take(self.at, axis=0))
        alpha = mask.reshape(-1).take(self.at).astype(np.float32) / 255
        self._alpha = alpha
        power = alpha**2 + (1 - alpha) ** 2
        self._shares = alpha / power, (1 - alpha) / power
        # Rounded up, so that a soft pixel always contributes to its own average.
        self._weights = np.ceil(255 * alpha**2), np.ceil(255 * (1 - alpha) ** 2)
        self._layers = (
            _solid(image, _between(mask, SOLID, 255)),
            _solid(image, _between(mask, 0, CLEAR)),
        )

    def assign(self, colours: tuple[Colours, Colours]) -> None:
        """Set the colours of the soft pixels in the foreground and in the background layer."""
        for layer, weight, colour in zip(self._layers, self._weights, colours, strict=True):
            weighted = np.empty((len(weight), 4), np.uint16)
            weighted[:, :3] = (np.rint(colour) * weight).T
            weighted[:, 3] = weight
            # Viewed as one 8-byte number per pixel, numpy writes them at a third of the cost.
            layer.reshape(-1, 4).view(np.uint64)[self.at] = weighted.view(np.uint64)

    def sums(self, radius: int) -> tuple[Sums, Sums]:
        """Return both layers summed over boxes of ``2 * radius + 1`` pixels per side."""
        side = 2 * radius + 1, 2 * radius + 1
        fore, back = (
            cv2.boxFilter(layer, cv2.CV_32S, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
            for layer in self._layers
        )
        return np.asarray(fore, np.int32), np.asarray(back, np.int32)

    def estimate(
        self, sums: tuple[Sums, Sums], at: npt.NDArray[np.intp] | None = None
    ) -> tuple[Colours, Colours]:
        """Return both layers' colours from *sums*, read at the flat indexes *at* (default: `at`).

        The residue, which the averages leave unexplained, goes to both layers by least squares.
        """
        where = self.at if at is None else at
        guesses = _average(sums[0], where, self.source), _average(sums[1], where, self.source)
        residue = self.source - self._alpha * guesses[0] - (1 - self._alpha) * guesses[1]
        fore, back = (
            np.clip(guess + share * residue, 0, 255, dtype=np.float32)
            for guess, share in zip(guesses, self._shares, strict=True)
        )
        return fore, back


def soft_pixels(mask: Mask) -> Mask:
    """Return 255 where *mask* is neither clear nor solid, else 0."""
    return _between(mask, CLEAR + 1, SOLID - 1)


def _between(mask: Mask, low: int, high: int) -> Mask:
    """Return 255 where *mask* is in *low* to *high*, inclusive, else 0."""
    return np.asarray(cv2.inRange(mask, low, high), np.uint8)


def _solid(image: RgbImage, where: Mask) -> _Weighted:
    """Return the colours of *image* with full weight where *where* is 255, else zeros."""
    ones = np.ones(where.shape, np.uint8)
    chosen = cv2.copyTo(cv2.merge([image, ones]), where)
    weighted: _Weighted = np.multiply(chosen, np.uint16(255), dtype=np.uint16)
    return weighted


def _planes(pixels: npt.NDArray[np.uint8] | Sums) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(pixels.T, dtype=np.float32)


def _average(sums: Sums, at: npt.NDArray[np.intp], source: Colours) -> Colours:
    """Return the weighted averages, or the source's colours where all weights are 0."""
    few = np.float32(1e-3)
    totals = _planes(sums.reshape(-1, 4).take(at, axis=0))
    average: Colours = (totals[:3] + few * source) / (totals[3] + few)
    return average
