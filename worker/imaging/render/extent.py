"""How large a canvas may become, before the image is decoded."""

from typing import Final

from shared.recipes.recipe import Recipe
from shared.recipes.rules import MAX_CANVAS_PX
from shared.recipes.values import Size
from worker.imaging.render.geometry import plan
from worker.imaging.render.types import Box, Side, Subject

_CUTS: Final[tuple[frozenset[Side], ...]] = (
    frozenset(),
    frozenset({"left"}),
    frozenset({"top"}),
)


def most_canvas_px(recipe: Recipe, source: Size) -> int:
    """Return the most pixels that the canvas of *recipe* has for an image of this size.

    A smaller subject needs no larger canvas, so the worst is a subject that fills the image. Only a
    canvas of a small crop whose margins leave hardly any room may become larger.

    Args:
        recipe: The recipe.
        source: Size of the image, upright or turned by 90 degrees.
    """
    if isinstance(recipe.size, Size):
        return recipe.size.width_px * recipe.size.height_px
    if recipe.longest_px and recipe.crop and not recipe.aspect:
        return min(MAX_CANVAS_PX, recipe.longest_px**2)  # the crop may be square
    turned = Size(source.height_px, source.width_px)
    # A share of the area becomes one of a side if the source cuts the subject.
    cuts = _CUTS if recipe.fill and recipe.fill_of != "longest_side" else _CUTS[:1]
    return max(_whole(recipe, size, cut) for size in (source, turned) for cut in cuts)


def _whole(recipe: Recipe, source: Size, cut: frozenset[Side]) -> int:
    """Return the pixels of the canvas if the subject fills the image."""
    width_px, height_px = source.width_px, source.height_px
    subject = Subject(Box(0, 0, width_px, height_px), width_px * height_px, cut)
    canvas = plan(source, subject, recipe).canvas
    return canvas.width_px * canvas.height_px
