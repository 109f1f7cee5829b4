"""Estimate the colours of foreground and background in regions of an image.

See `worker.imaging.foreground` for the method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
"""``(pixels, 4)`` int32: weighted colours and weights, summed over a box."""
Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a rectangle."""
_Weighted: TypeAlias = npt.NDArray[np.uint16]
"""``(pixels, 4)`` uint16: colour times weight, and the weight (0..255)."""

FEW: Final = np.float32(1e-3)
"""Weight of the source's colour in every average, which decides where all weights are 0."""


@dataclass(frozen=True)
class Region:
    """Where the pixels of a region are in the flat arrays of `Layers`."""

    shape: tuple[int, ...]
    pixels: slice
    soft: slice
    """Of its soft pixels among those of all regions."""
    at: npt.NDArray[np.intp]
    """Flat indexes of its soft pixels in the region."""


class Layers:
    """Colours of the foreground and the background layer of regions, with their weights.

    The pixels of all regions lie in one flat array, so that most steps cost one call of numpy for
    all of them; only box sums are made by region.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8.
        regions: Windows of both; may overlap.
    """

    def __init__(self, image: RgbImage, mask: Mask, regions: Sequence[Window]) -> None:
        shapes = [mask[region].shape for region in regions]
        ends = np.cumsum([height * width for height, width in shapes])
        pixels = np.empty((ends[-1], 3), np.uint8)
        alphas = np.empty(ends[-1], np.uint8)
        parts = [slice(end - h * w, end) for end, (h, w) in zip(ends, shapes, strict=True)]
        for region, shape, part in zip(regions, shapes, parts, strict=True):
            pixels[part].reshape(*shape, 3)[:] = image[region]
            alphas[part].reshape(shape)[:] = mask[region]
        at = np.flatnonzero(_between(alphas, CLEAR + 1, SOLID - 1) != 0)
        soft_ends = np.searchsorted(at, ends)
        self.regions: list[Region] = []
        for shape, part, start, end in zip(
            shapes, parts, [0, *soft_ends[:-1]], soft_ends, strict=True
        ):
            self.regions.append(Region(shape, part, slice(start, end), at[start:end] - part.start))
        self.at = at
        """Flat indexes of the soft pixels of all regions."""
        self.source: Colours = _planes(pixels.take(at, axis=0))
        self._alpha = alphas.take(at).astype(np.float32) / 255
        self._clearness = 1 - self._alpha
        powers = self._alpha**2, self._clearness**2
        power = powers[0] + powers[1]
        self._shares = self._alpha / power, self._clearness / power
        # Rounded up, so that a soft pixel always contributes to its own average.
        self._weights = np.ceil(255 * powers[0]), np.ceil(255 * powers[1])
        self._few_of_source = FEW * self.source
        self._layers = _solid(pixels, alphas)

    def assign(self, colours: tuple[Colours, Colours]) -> None:
        """Set the colours of the soft pixels in the foreground and in the background layer."""
        if not len(self.at):  # OpenCV takes no empty arrays
            return
        for layer, weight, colour in zip(self._layers, self._weights, colours, strict=True):
            weighted = np.empty((4, len(weight)), np.float32)
            np.multiply(np.rint(colour, out=weighted[:3]), weight, out=weighted[:3])
            weighted[3] = weight
            pixels = np.asarray(cv2.merge(list(weighted.astype(np.uint16))), np.uint16)
            # Viewed as one 8-byte number per pixel, numpy writes them at a third of the cost.
            layer.reshape(-1).view(np.uint64)[self.at] = pixels.reshape(-1).view(np.uint64)

    def sums(self, radius: int) -> tuple[Sums, Sums]:
        """Return both layers at the soft pixels, summed over boxes of ``2 * radius + 1`` pixels."""
        fore, back = np.empty((len(self.at), 4), np.int32), np.empty((len(self.at), 4), np.int32)
        for region in self.regions:
            for layer, sums in zip(self._layers, (fore, back), strict=True):
                boxes = _box_sums(layer, region, radius)
                # With "clip", numpy writes into *out* without a buffer.
                boxes.take(region.at, axis=0, out=sums[region.soft], mode="clip")
        return fore, back

    def all_sums(self, radius: int) -> tuple[Sums, Sums]:
        """Return both layers at every pixel of the first region, summed over boxes."""
        fore, back = (_box_sums(layer, self.regions[0], radius) for layer in self._layers)
        return fore, back

    def estimate(self, sums: tuple[Sums, Sums]) -> tuple[Colours, Colours]:
        """Return both layers' colours from their sums at the soft pixels.

        The residue, which the averages leave unexplained, goes to both layers by least squares.
        """
        guesses = self._averages(sums[0]), self._averages(sums[1])
        share = self._alpha * guesses[0]
        residue = self.source - share
        residue -= np.multiply(self._clearness, guesses[1], out=share)
        for guess, part in zip(guesses, self._shares, strict=True):
            np.add(guess, np.multiply(part, residue, out=share), out=guess)
            np.clip(guess, 0, 255, out=guess)
        return guesses

    def _averages(self, sums: Sums) -> Colours:
        """Return the weighted averages, or the source's colours where all weights are 0."""
        totals = _planes(sums)
        average: Colours = totals[:3]
        average += self._few_of_source
        average /= totals[3] + FEW
        return average


def soft_pixels(mask: Mask) -> Mask:
    """Return 255 where *mask* is neither clear nor solid, else 0."""
    return _between(mask, CLEAR + 1, SOLID - 1)


def _between(mask: Mask, low: int, high: int) -> Mask:
    """Return 255 where *mask* is in *low* to *high*, inclusive, else 0."""
    return np.asarray(cv2.inRange(mask, low, high), np.uint8).reshape(mask.shape)


def _box_sums(layer: _Weighted, region: Region, radius: int) -> Sums:
    """Return *layer* at every pixel of *region*, summed over boxes."""
    sums = cv2.boxFilter(
        layer[region.pixels].reshape(*region.shape, 4),
        cv2.CV_32S,
        (2 * radius + 1, 2 * radius + 1),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    return np.asarray(sums, np.int32).reshape(-1, 4)


def _solid(pixels: RgbImage, alphas: Mask) -> tuple[_Weighted, _Weighted]:
    """Return the colours of *pixels* with full weight where they are solid, and where clear."""
    row = alphas[None]
    merged = cv2.merge([pixels[None], np.ones_like(row)])
    fore, back = (
        np.multiply(
            np.asarray(cv2.copyTo(merged, _between(row, low, high)))[0],
            np.uint16(255),
            dtype=np.uint16,
        )
        for low, high in ((SOLID, 255), (0, CLEAR))
    )
    return fore, back


def _planes(pixels: npt.NDArray[np.uint8] | Sums) -> npt.NDArray[np.float32]:
    """Return ``(N, channels)`` *pixels* as ``(channels, N)`` float32."""
    if not len(pixels):
        return np.empty((pixels.shape[1], 0), np.float32)
    return np.asarray(cv2.transpose(pixels.astype(np.float32)), np.float32)
