"""Which fields of a recipe contradict each other."""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from shared.recipes.background import WHITE, Colour, NoBackground
from shared.recipes.formats import LOSSLESS, TRANSPARENT
from shared.recipes.recipe import Recipe
from shared.recipes.values import Aspect, Size

_Side: TypeAlias = Literal["left", "top", "right", "bottom"]

MAX_CANVAS_PX: Final = 64_000_000
"""Largest canvas, in pixels."""
_OPPOSITE: Final[tuple[tuple[_Side, _Side], ...]] = (("left", "right"), ("top", "bottom"))


def conflicts(recipe: Recipe) -> tuple[str, ...]:
    """Return what does not go together in *recipe*, one sentence each."""
    return (*_format(recipe), *_canvas(recipe), *_subject(recipe), *_checks(recipe))


def _format(recipe: Recipe) -> Iterator[str]:
    if recipe.lossless and recipe.format not in LOSSLESS:
        yield f"lossless: {recipe.format} has no such choice; remove it, or use webp or avif"
    if recipe.format not in TRANSPARENT and not _is_opaque(recipe):
        yield f"background: {recipe.format} keeps no transparency; set a colour, blur or an image"
    if recipe.max_bytes and recipe.min_bytes and recipe.min_bytes > recipe.max_bytes:
        yield "min_bytes is greater than max_bytes"


def _canvas(recipe: Recipe) -> Iterator[str]:
    size = recipe.size if isinstance(recipe.size, Size) else None
    shaping = {"aspect": recipe.aspect, "longest_px": recipe.longest_px}
    given = [name for name, value in (shaping | {"megapixels": recipe.megapixels}).items() if value]
    if recipe.size and given:
        yield f"size already fixes the canvas; remove {' and '.join(given)}"
    if recipe.longest_px and recipe.megapixels:
        yield "longest_px and megapixels exclude each other"
    if size and size.width_px * size.height_px > MAX_CANVAS_PX:
        yield f"size: {size} has more than 64 megapixels"
    longest_px, aspect = recipe.longest_px, recipe.aspect
    if longest_px and aspect and _area_px(longest_px, aspect) > MAX_CANVAS_PX:
        yield f"longest_px: {longest_px} with aspect {aspect} has more than 64 megapixels"
    if recipe.min_size and not size:
        yield "min_size needs size, which it is the floor of"
    if recipe.min_size and size and not _holds(size, recipe.min_size):
        yield f"min_size {recipe.min_size} is larger than size {size}"
    if recipe.fit == "limit" and not (size or recipe.longest_px or recipe.megapixels):
        yield "fit = limit needs size, longest_px or megapixels"


def _subject(recipe: Recipe) -> Iterator[str]:
    room = {"fill": recipe.fill, "padding": recipe.padding, "crop_margin": recipe.crop_margin}
    if len(given := [name for name, value in room.items() if value]) > 1:
        yield f"{' and '.join(given)} exclude each other"
    if recipe.crop_margin and not recipe.crop:
        yield "crop_margin needs crop = true"
    for low, high in _OPPOSITE:
        if _share(recipe, low) + _share(recipe, high) >= 1:
            yield f"padding and margin on the {low} and {high} leave no room"
    placed = [name for name in ("fill", "padding") if room[name]]
    if placed and recipe.position == "original":
        yield f"position = original leaves the subject where it is; remove it or {placed[0]}"
    if placed and recipe.fit == "cover":
        yield f"fit = cover fills the canvas with the image; remove it or {placed[0]}"


def _checks(recipe: Recipe) -> Iterator[str]:
    must = recipe.checks.must
    if must.white_background or recipe.checks.should.white_background:
        if recipe.shadow:
            yield "checks.white_background: a shadow is not white; remove one of them"
        if recipe.background != WHITE:
            yield f"checks.white_background: background is {recipe.background}; set white"
    if must.no_transparency and not _is_opaque(recipe):
        yield "checks.no_transparency: set a background"
    if must.formats and recipe.format not in must.formats:
        yield f"format {recipe.format} is not among checks.formats {', '.join(must.formats)}"
    if must.jpeg_quality and recipe.format == "jpg" and recipe.quality < must.jpeg_quality:
        yield f"quality {recipe.quality} is below checks.jpeg_quality {must.jpeg_quality}"
    if must.min_dpi and (recipe.dpi or 0) < must.min_dpi:
        yield f"dpi is below checks.min_dpi {must.min_dpi:g}; set dpi"


def _area_px(longest_px: int, aspect: Aspect) -> float:
    return longest_px**2 * min(aspect.ratio, 1 / aspect.ratio)


def _share(recipe: Recipe, side: _Side) -> float:
    """Return the share of the canvas that stays free on *side*; 0 if that is given in px."""
    lengths = [getattr(insets, side) for insets in (recipe.padding, recipe.margin) if insets]
    return max((each.amount / 100 for each in lengths if each.unit == "%"), default=0.0)


def _is_opaque(recipe: Recipe) -> bool:
    match recipe.background:
        case NoBackground():
            return False
        case Colour() as colour:
            return colour.is_opaque
        case _:
            return True


def _holds(outer: Size, inner: Size) -> bool:
    return outer.width_px >= inner.width_px and outer.height_px >= inner.height_px
