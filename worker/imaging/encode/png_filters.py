"""PNG row filters, which make rows compress better.

numpy filters rows in bands that fit the cache, and releases the interpreter lock meanwhile.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

_UP: Final = 2
"""PNG, 9.2: filter type of "this byte minus the byte above"."""
_BAND_BYTES: Final = 1 << 20
"""Bytes filtered and compressed at a time: fits the cache and limits memory."""
_ADAPTIVE_BAND_BYTES: Final = 1 << 14
"""The adaptive filter needs a dozen arrays of twice the size: takes half the time of 1 << 16."""

Filter: TypeAlias = Callable[[npt.NDArray[np.uint8], int], Iterator[npt.NDArray[np.uint8]]]
"""Takes rows (H, bytes per row) and bytes per pixel; yields bands of filtered rows, each row after
its filter type. Bands may share a buffer: use each one before requesting the next."""


def up(
    rows: npt.NDArray[np.uint8],
    pixel_bytes: int,  # noqa: ARG001 - a `Filter`
    *,
    band_bytes: int = _BAND_BYTES,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Filter every row with "Up": the cheapest filter, and the best single one for cutouts."""
    band_rows = _band_rows(rows, band_bytes)
    buffer = np.empty((band_rows, 1 + rows.shape[1]), np.uint8)
    buffer[:, 0] = _UP
    buffer[0, 1:] = rows[0]  # the row above the first is all zeros
    np.subtract(rows[1:band_rows], rows[: band_rows - 1], out=buffer[1:, 1:])
    yield buffer
    for top in range(band_rows, len(rows), band_rows):
        band = buffer[: min(band_rows, len(rows) - top)]
        bottom = top + len(band)
        np.subtract(rows[top:bottom], rows[top - 1 : bottom - 1], out=band[:, 1:])
        yield band


def adaptive(
    rows: npt.NDArray[np.uint8], pixel_bytes: int, *, band_bytes: int = _ADAPTIVE_BAND_BYTES
) -> Iterator[npt.NDArray[np.uint8]]:
    """Filter each row with the one of five filters that minimises the sum of absolute differences.

    The heuristic that the specification recommends (PNG, 12.7) and libpng uses.
    """
    band_rows = _band_rows(rows, band_bytes)
    # The row above and the pixel left of the image are zeros.
    framed = np.zeros((band_rows + 1, rows.shape[1] + pixel_bytes), np.int16)
    for top in range(0, len(rows), band_rows):
        band = rows[top : top + band_rows]
        framed[0] = framed[band_rows]
        framed[1 : len(band) + 1, pixel_bytes:] = band
        yield _least(_candidates(framed[: len(band) + 1], pixel_bytes))


def _band_rows(rows: npt.NDArray[np.uint8], band_bytes: int) -> int:
    return max(1, min(len(rows), band_bytes // (int(rows.shape[1]) + 1)))


def _candidates(framed: npt.NDArray[np.int16], pixel_bytes: int) -> npt.NDArray[np.uint8]:
    """Return a band filtered by all five filters: (5, h, bytes per row), by filter type."""
    values = framed[1:, pixel_bytes:]
    left, above = framed[1:, :-pixel_bytes], framed[:-1, pixel_bytes:]
    corner = framed[:-1, :-pixel_bytes]
    to_left, to_above = above - corner, left - corner  # distances of Paeth's prediction
    to_corner = np.abs(to_left + to_above)
    np.abs(to_left, out=to_left)
    np.abs(to_above, out=to_above)
    paeth = np.where(to_above <= to_corner, above, corner)
    np.copyto(paeth, left, where=(to_left <= to_above) & (to_left <= to_corner))
    nothing = np.zeros((1, 1), np.int16)
    predictions: list[npt.NDArray[np.int16]] = [nothing, left, above, (left + above) >> 1, paeth]
    filtered = np.empty((5, *values.shape), np.uint8)
    for kind, prediction in enumerate(predictions):
        np.subtract(values, prediction, out=filtered[kind], casting="unsafe")
    return filtered


def _least(filtered: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return each row by the filter with the least sum of differences, its type in front."""
    sums = np.minimum(filtered, 0 - filtered).sum(axis=2, dtype=np.uint32)
    kinds = sums.argmin(axis=0)
    chosen = filtered[kinds, np.arange(len(kinds))]
    return np.hstack([kinds[:, None].astype(np.uint8), chosen])
