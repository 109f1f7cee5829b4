"""Place the source on the canvas: numbers only.

The *frame* is the part of the source that is fitted: the subject if the recipe gives `fill` or
`padding`, the crop with its margin, or the whole source.

* The scale is the largest at which the frame keeps `fill`, `padding` and `margin` (with `cover`:
  the smallest at which it covers the canvas), at most `max_upscale`.
* Too small without more upscale: the canvas shrinks, with its aspect ratio, until the frame fits
  it. It stops at `min_size`. A fixed size without `min_size` does not shrink, except with `limit`.
* Too large: on a fixed canvas the frame is scaled down. The source's own canvas grows instead, so
  that the subject keeps the source's scale. Any canvas grows whose margins leave less than a pixel.
* An axis on which the source cuts the subject is left out of `fill`. Of an area's share, the other
  axis then keeps the root. The subject is flush with the sides that cut it, up to the `margin`.

The frame's longest side and its corner lie on whole pixels where the rules allow, so that edges
stay sharp; `fill` is therefore reached to within a pixel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.recipes.recipe import Recipe
from shared.recipes.rules import MAX_CANVAS_PX
from shared.recipes.values import Insets, Size
from worker.imaging.render.canvas import Wish, frame_of, wished_canvas
from worker.imaging.render.position import Axis, place
from worker.imaging.render.types import Box, Placement, Side, Subject

_EPSILON: Final = 1e-6
"""Differences of lengths in pixels that come from floating point."""
_HORIZONTAL: Final = frozenset[Side]({"left", "right"})
_VERTICAL: Final = frozenset[Side]({"top", "bottom"})
_HALVINGS: Final = 50


def plan(source: Size, subject: Subject, recipe: Recipe) -> Placement:
    """Return where *source* lies on the canvas of *recipe*.

    Args:
        source: Size of the source.
        subject: The subject; the whole source if there is none.
        recipe: The recipe.
    """
    fitting = _Fitting(recipe, subject, frame_of(recipe, source, subject))
    base = fitting.frame if recipe.crop else Box(0, 0, source.width_px, source.height_px)
    canvas, scale = fitting.canvas_and_scale(wished_canvas(recipe, base))
    scale = min(recipe.max_upscale, _whole_pixels(fitting.frame, scale, up=recipe.fit == "cover"))
    room = fitting.room(canvas)
    frame, box = (each.scaled(scale, 0, 0) for each in (fitting.frame, subject.box))
    left_px, top_px = place(
        recipe,
        Axis(
            room=(room.left, room.right),
            canvas_px=canvas.width_px,
            frame=(frame.left, frame.right),
            subject=(box.left, box.right),
            cut=("left" in subject.cut, "right" in subject.cut),
        ),
        Axis(
            room=(room.top, room.bottom),
            canvas_px=canvas.height_px,
            frame=(frame.top, frame.bottom),
            subject=(box.top, box.bottom),
            cut=("top" in subject.cut, "bottom" in subject.cut),
        ),
    )
    return Placement(
        canvas=canvas,
        scale=scale,
        left_px=left_px,
        top_px=top_px,
        subject=box.scaled(1, left_px, top_px),
        cut=subject.cut,
        upscaled=max(1.0, scale),
    )


@dataclass(frozen=True)
class _Fitting:
    """What is fitted to a canvas, and by which rules."""

    recipe: Recipe
    subject: Subject
    frame: Box

    def canvas_and_scale(self, wish: Wish) -> tuple[Size, float]:
        """Return the canvas, shrunk or grown where the rules ask for it, and the scale on it."""
        longest = max(self.frame.width, self.frame.height)
        least = 1 / longest if wish.is_fixed else 1.0
        most = self.recipe.max_upscale
        canvas, fitted = wish.size, self.largest_scale(wish.size)
        if fitted < least:
            canvas = _resized(canvas, self._factor(canvas, least))
        elif fitted > most:
            factor = max(self._factor(canvas, most), self._least_factor(wish))
            canvas = _resized(canvas, min(1.0, factor))
        canvas = _at_most(canvas)
        return canvas, min(most, max(self.largest_scale(canvas), 1 / longest))

    def largest_scale(self, canvas: Size) -> float:
        """Return the largest scale at which the frame keeps all rules on *canvas*."""
        width, height = self.frame.width, self.frame.height
        if self.recipe.fit == "cover":
            return max(canvas.width_px / width, canvas.height_px / height)
        room = self.room(canvas)
        scales = [room.width / width, room.height / height]
        return min(*scales, *self._filling_scales(canvas))

    def room(self, canvas: Size) -> Box:
        """Return the part of *canvas* that margin and padding leave, in whole pixels."""

        def inset(side: Side, whole_px: int) -> int:
            margin = _inset(self.recipe.margin, side, whole_px)
            if side in self.subject.cut:
                return margin
            return max(margin, _inset(self.recipe.padding, side, whole_px))

        return Box(
            inset("left", canvas.width_px),
            inset("top", canvas.height_px),
            canvas.width_px - inset("right", canvas.width_px),
            canvas.height_px - inset("bottom", canvas.height_px),
        )

    def _filling_scales(self, canvas: Size) -> list[float]:
        """Return the scales at which the subject's `fill` is reached; none without `fill`."""
        fill = self.recipe.fill
        if fill is None:
            return []
        box = self.subject.box
        box_area = box.width * box.height
        area = self.subject.area_px if self.recipe.fill_of == "mask_area" else box_area
        if self.recipe.fill_of != "longest_side" and not self.subject.cut:
            return [math.sqrt(fill * canvas.width_px * canvas.height_px / area)]
        share = fill if self.recipe.fill_of == "longest_side" else math.sqrt(fill * box_area / area)
        across = [] if _HORIZONTAL & self.subject.cut else [share * canvas.width_px / box.width]
        down = [] if _VERTICAL & self.subject.cut else [share * canvas.height_px / box.height]
        return across + down

    def _factor(self, canvas: Size, scale: float) -> float:
        """Return the least factor of *canvas* at which the frame fits at *scale*.

        It stops where the canvas exceeds the largest that is allowed.
        """
        high = 1.0
        while (
            self.largest_scale(_resized(canvas, high)) < scale
            and canvas.width_px * canvas.height_px * high**2 <= MAX_CANVAS_PX
        ):
            high *= 2
        return _least(lambda factor: self.largest_scale(_resized(canvas, factor)) >= scale, high)

    def _least_factor(self, wish: Wish) -> float:
        """Return how far the canvas may shrink: 1 not at all, 0 as far as needed."""
        floor = self.recipe.min_size
        if floor:
            return max(floor.width_px / wish.size.width_px, floor.height_px / wish.size.height_px)
        return 1.0 if wish.is_fixed and self.recipe.fit != "limit" else 0.0


def _inset(insets: Insets | None, side: Side, whole_px: int) -> int:
    return 0 if insets is None else math.ceil(getattr(insets, side).of_px(whole_px) - _EPSILON)


def _least(holds: Callable[[float], bool], high: float) -> float:
    """Return the least number from 0 to *high* from which on *holds* is true."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _resized(canvas: Size, factor: float) -> Size:
    """Return *canvas* times *factor*, rounded up."""
    width_px, height_px = (
        max(1, math.ceil(side * factor - _EPSILON)) for side in (canvas.width_px, canvas.height_px)
    )
    return Size(width_px, height_px)


def _at_most(canvas: Size) -> Size:
    """Return *canvas*, made smaller if it has more pixels than the largest that is allowed."""
    area_px = canvas.width_px * canvas.height_px
    if area_px <= MAX_CANVAS_PX:
        return canvas
    factor = math.sqrt(MAX_CANVAS_PX / area_px)
    width_px, height_px = (
        min(MAX_CANVAS_PX, max(1, math.floor(side * factor)))
        for side in (canvas.width_px, canvas.height_px)
    )
    return Size(width_px, height_px)


def _whole_pixels(frame: Box, scale: float, *, up: bool) -> float:
    """Return *scale*, changed so that the longest side of *frame* has whole pixels."""
    longest = max(frame.width, frame.height)
    sides_px = (
        math.ceil(longest * scale - _EPSILON) if up else math.floor(longest * scale + _EPSILON)
    )
    return max(1, sides_px) / longest
