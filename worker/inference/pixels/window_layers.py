"""Colours of both layers of windows of an image, with torch; see `worker.imaging.layers`.

The same steps on the same numbers, so that the results are equal: sums of integers are exact, and
each step on floats is an operator of its own, which the device cannot fuse and round differently.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from torch import Tensor

from worker.imaging.layers import CLEAR, FEW, SOLID

OUTSIDE: Final = 256
"""Value of an alpha beyond the image: no weight in either layer."""


class LayerTables:
    """What the method needs of a pixel's alpha, by value, on *device*; complete when built."""

    def __init__(self, device: torch.device) -> None:
        self._table = torch.from_numpy(_table()).to(device)

    def rows(self, alphas: Tensor) -> Tensor:
        """Return `(6, ...)` float32 for integer *alphas*: alpha, clearness, shares, weights."""
        rows = self._table.index_select(1, alphas.reshape(-1).int())
        return rows.view(-1, *alphas.shape)


def _table() -> npt.NDArray[np.float32]:
    """Return `(6, 257)`: alpha, clearness, share and weight of both layers."""
    values = np.arange(OUTSIDE + 1)
    alpha = np.minimum(values, 255).astype(np.float32) / 255
    clearness = 1 - alpha
    powers = alpha**2, clearness**2
    power = powers[0] + powers[1]
    weights = np.ceil(255 * powers[0]), np.ceil(255 * powers[1])
    is_clear, is_solid = values <= CLEAR, (values >= SOLID) & (values < OUTSIDE)
    weights[0][is_clear], weights[1][is_clear] = 0, 255
    weights[0][is_solid], weights[1][is_solid] = 255, 0
    weights[0][OUTSIDE] = weights[1][OUTSIDE] = 0
    return np.stack([alpha, clearness, alpha / power, clearness / power, *weights])


def is_soft(alphas: Tensor) -> Tensor:
    """Return where *alphas* are neither clear nor solid."""
    return (alphas > CLEAR) & (alphas < SOLID)


class WindowLayers:
    """Both layers of windows of one size.

    Args:
        colours: `(N, 3, h, w)` uint8.
        alphas: `(N, h, w)`, an integer type: 0 to 255, or `OUTSIDE`.
        tables: On the device of both.
    """

    def __init__(self, colours: Tensor, alphas: Tensor, tables: LayerTables) -> None:
        self.source = colours.float()[:, None]
        self.soft = is_soft(alphas)[:, None, None]
        rows = tables.rows(alphas)
        self._alpha, self._clearness = rows[0, :, None], rows[1, :, None]
        self._shares = rows[2:4].movedim(0, 1)[:, :, None]
        self._weights = rows[4:6].movedim(0, 1)[:, :, None]
        self._few_of_source = self.source * float(FEW)

    def sums(self, colours: Tensor, radius: int) -> Tensor:
        """Return `(N, 2, 4, h, w)` int32: weighted colours and weights, summed over boxes.

        Args:
            colours: `(N, 1 or 2, 3, h, w)` of the soft pixels in both layers.
            radius: Boxes are `2 * radius + 1` pixels wide and high.
        """
        rounded = torch.where(self.soft, colours, self.source).round_()
        weighted = (rounded * self._weights).int()
        return _box_sums(torch.cat([weighted, self._weights.int()], dim=2), radius)

    def estimate(self, sums: Tensor) -> Tensor:
        """Return `(N, 2, 3, h, w)` float32: both layers' colours at the soft pixels.

        The residue, which the averages leave unexplained, goes to both layers by least squares.
        """
        totals = sums.float()
        guesses = (totals[:, :, :3] + self._few_of_source) / (totals[:, :, 3:] + float(FEW))
        residue = self.source[:, 0] - self._alpha * guesses[:, 0]
        residue -= self._clearness * guesses[:, 1]
        return guesses.add_(self._shares * residue[:, None]).clamp_(0, 255)


def _box_sums(values: Tensor, radius: int) -> Tensor:
    """Return int32 *values* summed over boxes of the last two dimensions, zeros beyond them.

    Prefix sums may exceed int32 on large images: they wrap, and so their differences are exact.
    """
    side = 2 * radius + 1
    sums = F.pad(values, (radius + 1, radius, radius + 1, radius))
    for dimension in (-1, -2):
        ends = torch.cumsum(sums, dimension, dtype=torch.int32)
        length = ends.shape[dimension] - side
        sums = ends.narrow(dimension, side, length) - ends.narrow(dimension, 0, length)
    return sums
