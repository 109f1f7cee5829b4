"""Position the source on each axis of the canvas."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shared.recipes.recipe import Recipe
from shared.recipes.values import Anchor
from worker.imaging.render.canvas import is_placed

_Span: TypeAlias = tuple[float, float]
"""Start and end in pixels of the canvas."""
_Flush: TypeAlias = Literal["low", "high"] | None


@dataclass(frozen=True)
class Axis:
    """One axis of the canvas; the source begins at 0, at its final scale."""

    room: _Span
    """What margin and padding leave of the canvas."""
    canvas_px: int
    frame: _Span
    """The part of the source that is fitted."""
    subject: _Span
    cut: tuple[bool, bool]
    """Whether the source cuts the subject at the start and at the end."""


def place(recipe: Recipe, across: Axis, down: Axis) -> tuple[float, float]:
    """Return the source's left and top edge on the canvas, in pixels.

    Sides that cut the subject win over `align`, which wins over `position`. Without both, a frame
    is centred in the room, so that the subject stays where it is in the frame. With `cover` the
    frame then moves, as far as it still covers the canvas, to show the subject.
    """
    anchor = recipe.position if isinstance(recipe.position, Anchor) else Anchor(50.0, 50.0)
    align = recipe.align
    is_moved = bool(is_placed(recipe) or isinstance(recipe.position, Anchor) or str(align))
    keeps_place = not is_moved and (recipe.position == "original" or not recipe.crop)
    flush_with = [
        None if keeps_place else _flush(axis.cut, edge)
        for axis, edge in ((across, align.horizontal), (down, align.vertical))
    ]
    shares = anchor.x_percent / 100, anchor.y_percent / 100
    left, top = (
        _covering(axis, flush, share)
        if recipe.fit == "cover"
        else _inside(
            axis, axis.subject if is_moved and not recipe.crop else axis.frame, flush, share
        )
        for axis, flush, share in zip((across, down), flush_with, shares, strict=True)
    )
    return left, top


def _flush(cut: tuple[bool, bool], align: str) -> _Flush:
    """Return the end that is flush with the room, if any: the one that is cut, or aligned."""
    if cut[0] != cut[1]:
        return "low" if cut[0] else "high"
    ends: dict[str, _Flush] = {"left": "low", "top": "low", "right": "high", "bottom": "high"}
    return ends.get(align)


def _inside(axis: Axis, content: _Span, flush: _Flush, share: float) -> float:
    """Return the source's edge at which *content* lies inside the room, on whole pixels."""
    low, high = axis.room[0] - content[0], axis.room[1] - content[1]
    if high <= low:
        return (low + high) / 2
    if flush:
        return low if flush == "low" else high
    start = round(axis.room[0] + share * (high - low))
    return min(max(low, start - content[0]), high)


def _covering(axis: Axis, flush: _Flush, share: float) -> float:
    """Return the source's edge at which the frame covers the canvas and shows the subject."""
    low, high = axis.canvas_px - axis.frame[1], -axis.frame[0]
    if low > high:
        return (low + high) / 2
    if flush:
        share = 0.0 if flush == "low" else 1.0
    edge = high + share * (low - high)
    first, last = axis.room[0] - axis.subject[0], axis.room[1] - axis.subject[1]
    if first <= last:  # the subject fits the room
        edge = min(max(edge, first), last)
    return min(max(round(edge), low), high)
