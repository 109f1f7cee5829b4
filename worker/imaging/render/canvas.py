"""The canvas that a recipe wishes for, before the subject is placed on it."""

import math
from dataclasses import dataclass

from shared.recipes.recipe import Recipe
from shared.recipes.values import Aspect, Size
from worker.imaging.render.types import Box, Subject


@dataclass(frozen=True)
class Wish:
    """A canvas, and whether the recipe fixes it.

    A canvas that is not fixed is the source's own, or that of the crop, at the source's scale.
    """

    size: Size
    is_fixed: bool


def wished_canvas(recipe: Recipe, base: Box) -> Wish:
    """Return the canvas that *recipe* wishes for.

    Args:
        recipe: The recipe.
        base: What the canvas is derived from if its size is not given: the whole source, or the
            crop.
    """
    width, height = base.width, base.height
    if isinstance(recipe.size, Size):
        if recipe.fit != "limit" or is_placed(recipe):
            return Wish(recipe.size, is_fixed=True)
        scale = min(recipe.size.width_px / width, recipe.size.height_px / height)
        least = recipe.min_size or Size(1, 1)
        width, height = max(least.width_px, width * scale), max(least.height_px, height * scale)
        return Wish(whole_size(width, height), is_fixed=True)
    if recipe.aspect:
        width, height = _with_aspect(width, height, recipe.aspect, inside=recipe.fit == "cover")
    if recipe.longest_px:
        scale = recipe.longest_px / max(width, height)
    elif recipe.megapixels:
        scale = math.sqrt(recipe.megapixels * 1e6 / (width * height))
    else:
        return Wish(whole_size(width, height), is_fixed=False)
    return Wish(whole_size(width * scale, height * scale), is_fixed=True)


def is_placed(recipe: Recipe) -> bool:
    """Return whether *recipe* sizes the subject, not the image or the crop."""
    return recipe.fill is not None or recipe.padding is not None


def frame_of(recipe: Recipe, source: Size, subject: Subject) -> Box:
    """Return the part of the source that is fitted to the canvas, in pixels of the source.

    It is the subject if the recipe sizes that, the crop with its margin, or the whole source. The
    margin is left out on sides where the source cuts the subject, and may extend beyond the source.
    """
    if not recipe.crop and not is_placed(recipe):
        return Box(0, 0, source.width_px, source.height_px)
    box, around = subject.box, recipe.crop_margin
    if around is None:
        return box
    room = {
        "left": around.left.of_px(box.width),
        "top": around.top.of_px(box.height),
        "right": around.right.of_px(box.width),
        "bottom": around.bottom.of_px(box.height),
    }
    left, top, right, bottom = (
        0 if side in subject.cut else round(length_px) for side, length_px in room.items()
    )
    return Box(box.left - left, box.top - top, box.right + right, box.bottom + bottom)


def whole_size(width_px: float, height_px: float) -> Size:
    """Return the nearest size of whole pixels, at least 1 x 1."""
    return Size(max(1, round(width_px)), max(1, round(height_px)))


def _with_aspect(
    width: float, height: float, aspect: Aspect, *, inside: bool
) -> tuple[float, float]:
    """Return the largest size of *aspect* inside the given one, or the smallest around it."""
    if (width / height > aspect.ratio) == inside:
        return height * aspect.ratio, height
    return width, width / aspect.ratio
