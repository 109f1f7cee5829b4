"""Cut out, scale and place the subject in one resampling.

Colours are interpolated in linear light and premultiplied by alpha, so that edges get no dark or
bright rim.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.recipes.values import Size
from worker.imaging.render.light import Alpha, Light, resized, times, to_alpha, to_light
from worker.imaging.render.types import Placement
from worker.imaging.types import Mask, RgbImage

_MAX_ROOM_PX: Final = 64
"""Greatest room around the subject among which an edge on whole pixels is sought."""
_EXACT_PX: Final = 1e-3
"""Error of an edge that changes no value."""


@dataclass(frozen=True)
class Layer:
    """The subject on a part of the canvas."""

    left: int
    """Of the part on the canvas, in pixels."""
    top: int
    light: Light
    """Premultiplied."""
    alpha: Alpha

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def on_canvas(self, canvas: Size) -> "Layer":
        """Return the layer extended to all of *canvas*."""
        light = np.zeros((canvas.height_px, canvas.width_px, 3), np.uint16)
        alpha = np.zeros(light.shape[:2], np.uint16)
        light[self.region], alpha[self.region] = self.light, self.alpha
        return Layer(0, 0, light, alpha)


def resample(colours: RgbImage, mask: Mask, placement: Placement) -> Layer | None:
    """Return the visible part of *colours* under *mask* on the canvas; None if there is none.

    Args:
        colours: (H, W, 3) uint8, sRGB; foreground colours where the mask is soft.
        mask: (H, W) uint8.
        placement: Where the source lies on the canvas.
    """
    left, top, width, height = cv2.boundingRect(mask)
    size, scale = mask.shape, placement.scale
    canvas = placement.canvas
    across = _strip((left, left + width), size[1], scale, placement.left_px, canvas.width_px)
    down = _strip((top, top + height), size[0], scale, placement.top_px, canvas.height_px)
    if across is None or down is None:
        return None
    light, alpha = _premultiplied(colours, mask, across, down)
    to = Size(across.stop_px - across.start_px, down.stop_px - down.start_px)
    rows, columns = down.visible(canvas.height_px), across.visible(canvas.width_px)
    return Layer(
        left=max(0, across.start_px),
        top=max(0, down.start_px),
        light=resized(light, to)[rows, columns],
        alpha=resized(alpha, to)[rows, columns],
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

    def edge(at: int, step: int) -> tuple[int, int]:
        places = [at] if at in (0, size) else range(at, at + step * _MAX_ROOM_PX, step)
        best, least_px = at, 1.0
        for place in places:
            on_canvas_px = offset_px + place * scale
            error_px = abs(on_canvas_px - round(on_canvas_px))
            if error_px < least_px - _EXACT_PX:
                best, least_px = place, error_px
        return best, round(offset_px + best * scale)

    start, start_px = edge(first, -1)
    stop, stop_px = edge(last, 1)
    stop_px = max(stop_px, start_px + 1)
    if stop_px <= 0 or start_px >= canvas_px:
        return None
    return _Strip(start, stop, start_px, stop_px)


def _premultiplied(
    colours: RgbImage, mask: Mask, across: _Strip, down: _Strip
) -> tuple[Light, Alpha]:
    left, right = across.inside(mask.shape[1])
    top, bottom = down.inside(mask.shape[0])
    alpha = to_alpha(mask[top:bottom, left:right])
    light = times(to_light(colours[top:bottom, left:right]), alpha)
    beyond = top - down.start, down.stop - bottom, left - across.start, across.stop - right
    if any(beyond):
        light, alpha = (
            np.asarray(cv2.copyMakeBorder(each, *beyond, cv2.BORDER_CONSTANT, value=0), np.uint16)
            for each in (light, alpha)
        )
    return light, alpha
