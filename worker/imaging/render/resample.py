"""Cut out, scale and place the subject in one resampling.

Colours are interpolated in linear light and premultiplied by alpha, so that edges get no dark or
bright rim.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.recipes.background import Colour
from shared.recipes.values import Size
from worker.imaging.render.background import plain
from worker.imaging.render.layer import Layer, Scaled, Unscaled
from worker.imaging.render.light import (
    Alpha,
    Light,
    resized,
    times,
    to_alpha,
    to_light,
    whole_factor,
)
from worker.imaging.render.tiles import TILE_PX, Kind, tiles
from worker.imaging.render.types import Placement
from worker.imaging.types import Mask, RgbImage

_BLACK: Final = Colour(0, 0, 0)
_MAX_PLACES: Final = 64
"""Places beyond the subject among which an edge on whole pixels is sought."""
_ROUGH_PX: Final = 1 / 8
_MAX_FACTOR: Final = 16
"""Strips of the source that are divided evenly have at most this error, by at most this factor."""
_EXACT_PX: Final = 1 / 32
"""Error of an edge that nobody sees: over the whole subject, not of its outline."""


def resample(
    colours: RgbImage, mask: Mask, placement: Placement, ground: Colour | None
) -> Layer | None:
    """Return the visible part of *colours* under *mask* on the canvas; None if there is none.

    A plain opaque background may be composed here as the *ground*, if the source is scaled. The
    result is the same, as both steps are linear, and costs a third less: only soft parts of the
    source are composed.

    Args:
        colours: (H, W, 3) uint8, sRGB; foreground colours where the mask is soft.
        mask: (H, W) uint8.
        placement: Where the source lies on the canvas.
        ground: The background, opaque; None leaves the colours premultiplied.
    """
    left, top, width, height = cv2.boundingRect(mask)
    size, scale = mask.shape, placement.scale
    canvas = placement.canvas
    across = _strip((left, left + width), size[1], scale, placement.left_px, canvas.width_px)
    down = _strip((top, top + height), size[0], scale, placement.top_px, canvas.height_px)
    if across is None or down is None:
        return None
    if across.is_unscaled and down.is_unscaled:
        return _unscaled(colours, mask, (across, down), canvas)
    light, alpha = _composed(colours, mask, (across, down), ground)
    to = Size(across.stop_px - across.start_px, down.stop_px - down.start_px)
    rows, columns = down.visible(canvas.height_px), across.visible(canvas.width_px)
    return Scaled(
        left=max(0, across.start_px),
        top=max(0, down.start_px),
        alpha=resized(alpha, to)[rows, columns],
        light=resized(light, to)[rows, columns],
        has_ground=ground is not None,
    )


@dataclass(frozen=True)
class _Strip:
    """Part of an axis: whole pixels of the source that fill whole pixels of the canvas."""

    start: int
    """In the source; it may lie beyond it, where there is nothing."""
    stop: int
    start_px: int
    """On the canvas, or beyond it."""
    stop_px: int

    def inside(self, size: int) -> tuple[int, int]:
        """Return start and stop inside a source of *size* pixels."""
        return max(0, self.start), min(size, self.stop)

    def visible(self, size_px: int) -> slice:
        """Return the pixels of the strip that lie on a canvas of *size_px* pixels."""
        return slice(max(0, -self.start_px), min(size_px, self.stop_px) - self.start_px)

    @property
    def is_unscaled(self) -> bool:
        """Whether each pixel of the source fills one of the canvas."""
        return self.stop - self.start == self.stop_px - self.start_px

    def shown(self, size: int, canvas_px: int) -> tuple[slice, int]:
        """Return the visible part of an unscaled source, and its start on the canvas."""
        shift = self.start_px - self.start
        first = max(0, self.start, -shift)
        return slice(first, min(size, self.stop, canvas_px - shift)), first + shift


def _strip(
    span: tuple[int, int], size: int, scale: float, offset_px: float, canvas_px: int
) -> _Strip | None:
    """Return the visible strip of the source that contains *span* on one axis.

    The edges of the source go to the nearest whole pixel, so that they are not soft. Others are
    moved outwards to where they lie on whole pixels of the canvas, to within a fraction of one.
    """
    first = max(span[0], int((0 - offset_px) / scale) - 2)
    last = min(span[1], int((canvas_px - offset_px) / scale) + 3)
    if first >= last:
        return None

    def place(places: range) -> tuple[float, int]:
        """Return the error of the best of *places*, in pixels of the canvas, and that place."""
        found = [(_from_whole_px(offset_px + each * scale), each) for each in places]
        return next((each for each in found if each[0] <= _EXACT_PX), min(found))

    start, stop = 0, size
    if first > 0:
        start = place(range(first, first - _MAX_PLACES, -1))[1]
    if last < size:
        factor = whole_factor(scale)
        divided = last + (start - last) % factor  # makes `resized` faster
        error_px, stop = place(range(divided, divided + _MAX_PLACES * factor, factor))
        if error_px > _ROUGH_PX or factor > _MAX_FACTOR:
            stop = place(range(last, last + _MAX_PLACES))[1]
    start_px, stop_px = round(offset_px + start * scale), round(offset_px + stop * scale)
    stop_px = max(stop_px, start_px + 1)
    if stop_px <= 0 or start_px >= canvas_px:
        return None
    return _Strip(start, stop, start_px, stop_px)


def _from_whole_px(length_px: float) -> float:
    return abs(length_px - round(length_px))


def _unscaled(
    colours: RgbImage, mask: Mask, strips: tuple[_Strip, _Strip], canvas: Size
) -> Unscaled | None:
    across, down = strips
    columns, left = across.shown(mask.shape[1], canvas.width_px)
    rows, top = down.shown(mask.shape[0], canvas.height_px)
    part = mask[rows, columns]
    return Unscaled(left, top, part, colours[rows, columns]) if part.size else None


def _composed(
    colours: RgbImage, mask: Mask, strips: tuple[_Strip, _Strip], ground: Colour | None
) -> tuple[Light, Alpha]:
    """Return light and alpha of the source inside *strips*, at its own scale."""
    across, down = strips
    left, right = across.inside(mask.shape[1])
    top, bottom = down.inside(mask.shape[0])
    part = slice(top, bottom), slice(left, right)
    alpha = to_alpha(mask[part])
    under = to_light(plain(ground or _BLACK, Size(right - left, TILE_PX)))
    light = np.empty((*alpha.shape, 3), np.uint16)
    for kind, at in tiles(mask[part]):
        here, seen = light[at], colours[part][at]
        below = under[: len(here), : here.shape[1]]
        if kind is Kind.CLEAR:
            here[:] = below
        elif kind is Kind.SOLID:
            to_light(seen, out=here)
        else:
            passing = np.asarray(cv2.bitwise_not(alpha[at]), np.uint16)
            cv2.add(times(to_light(seen), alpha[at]), times(below, passing), dst=here)
    beyond = top - down.start, down.stop - bottom, left - across.start, across.stop - right
    return _padded(light, beyond, under[0, 0].tolist()), _padded(alpha, beyond, 0)


def _padded(
    values: npt.NDArray[np.uint16], beyond: tuple[int, int, int, int], value: int | list[int]
) -> npt.NDArray[np.uint16]:
    """Return *values* with *beyond* more rows above and below, columns left and right."""
    if not any(beyond):
        return values
    return np.asarray(
        cv2.copyMakeBorder(values, *beyond, cv2.BORDER_CONSTANT, value=value), np.uint16
    )
