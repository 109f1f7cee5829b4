"""Tell solid, clear and soft parts of an alpha channel apart, to skip work on the first two."""

import itertools
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from worker.imaging.render.types import Region

TILE_PX: Final = 64
"""Side of a tile: its colours stay in the processor's cache between two steps."""


class Kind(Enum):
    """What the alpha of a tile is."""

    CLEAR = auto()
    """0 everywhere."""
    SOFT = auto()
    """Anything else."""
    SOLID = auto()
    """Opaque everywhere."""


_KINDS: Final = (Kind.SOFT, Kind.CLEAR, Kind.SOLID)


class Tile(NamedTuple):
    """A rectangle whose alpha is of one kind."""

    kind: Kind
    at: Region


def tiles(alpha: npt.NDArray[np.uint8 | np.uint16]) -> Iterator[Tile]:
    """Yield rectangles that cover *alpha*, (H, W) uint8 or uint16, each pixel once.

    Neighbours in a row of tiles are joined if they are of the same kind.
    """
    height, width = alpha.shape
    lefts = np.arange(0, width, TILE_PX)
    for top in range(0, height, TILE_PX):
        rows = slice(top, min(top + TILE_PX, height))
        band = alpha[rows]
        is_clear = np.maximum.reduceat(band.max(axis=0), lefts) == 0
        is_solid = np.minimum.reduceat(band.min(axis=0), lefts) == np.iinfo(alpha.dtype).max
        kinds = map(_KINDS.__getitem__, (is_clear + 2 * is_solid).tolist())
        start = 0
        for kind, run in itertools.groupby(kinds):
            stop = start + len(list(run))
            yield Tile(kind, (rows, slice(start * TILE_PX, min(stop * TILE_PX, width))))
            start = stop
