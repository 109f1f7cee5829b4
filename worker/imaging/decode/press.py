"""The press that CMYK files without a profile are assumed to be made for (ADR 50).

Offset on coated paper by ISO 12647-2, computed from the values that the standard publishes: the
colours of the solid inks and of their overprints, and how much halftone dots grow in print
(Neugebauer's model). No third-party profile is needed.
"""

import functools
import itertools
from typing import Final

import numpy as np

from worker.imaging.decode.profiles import D50, Floats, cmyk_profile

_SOLIDS: Final = {
    (0, 0, 0): (95, 0, -2),
    (1, 0, 0): (55, -37, -50),
    (0, 1, 0): (48, 74, -3),
    (0, 0, 1): (89, -5, 93),
    (0, 1, 1): (47, 68, 48),
    (1, 0, 1): (50, -68, 25),
    (1, 1, 0): (24, 17, -46),
    (1, 1, 1): (23, 0, 0),
}
"""Cyan, magenta and yellow -> Lab of paper, solid inks and overprints."""
_BLACK: Final = (16, 0, 0)
_THROUGH_BLACK: Final = 0.75
"""How much of their darkening inks under black keep; the standard has no overprints with it."""
_GROWTH: Final = (0.143, 0.143, 0.143, 0.17)
"""Tone value increase at 50 %, by ink."""
_GRID: Final = 9


@functools.cache
def press_profile() -> bytes:
    """Return the ICC profile of the press."""
    levels = np.linspace(0, 1, 256)
    coverages = np.array([levels + 4 * growth * levels * (1 - levels) for growth in _GROWTH])
    return cmyk_profile(coverages, _table())


def _table() -> Floats:
    """Return XYZ, relative to the paper and with black at 0, for coverages of a grid."""
    grid = np.linspace(0, 1, _GRID)
    weights = np.stack([1 - grid, grid])
    solids = np.array([_solid(*inks) for inks in itertools.product((0, 1), repeat=4)])
    table = np.einsum(
        "ac,bm,dy,ek,abdex->cmykx", *[weights] * 4, solids.reshape(2, 2, 2, 2, 3), optimize=True
    )
    # Black point compensation: the darkest print is black.
    black = table[-1, -1, -1, -1]
    return np.asarray((table - black) * D50 / (D50 - black))


def _solid(cyan: int, magenta: int, yellow: int, black: int) -> Floats:
    """Return the XYZ of solid inks, relative to the paper."""
    paper = _xyz(_SOLIDS[0, 0, 0])
    inks = _xyz(_SOLIDS[cyan, magenta, yellow])
    if black:
        inks = _xyz(_BLACK) * (1 - _THROUGH_BLACK + _THROUGH_BLACK * inks / paper)
    return inks / paper * D50


def _xyz(lab: tuple[float, float, float]) -> Floats:
    lightness, a, b = lab
    middle = (lightness + 16) / 116
    f = np.array([middle + a / 500, middle, middle - b / 200])
    return np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
