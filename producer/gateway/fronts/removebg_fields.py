"""Translate the parameters of remove.bg to a recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from shared.document import problems
from shared.errors import InvalidRecipe
from shared.recipes import Recipe
from shared.recipes.background import Colour, parse_background
from shared.recipes.parsing import parts
from shared.recipes.rules import conflicts
from shared.recipes.values import Insets, Length, Roi, parse_position

_T = TypeVar("_T")

NAME: Final = "removebg"
"""Name of the output."""
PREVIEW_MP: Final = 0.25
_SIZES_MP: Final = {"medium": 1.5, "hd": 4.0}
_PREVIEWS: Final = ("preview", "small", "regular")
_FULL: Final = ("full", "4k", "auto")
FULL_MP: Final = 25.0
_PNG_MP: Final = 10.0
_LARGEST_MP: Final = 50.0
_FORMATS: Final = ("auto", "png", "jpg", "webp", "zip")
_TYPES: Final = ("auto", "person", "product", "animal", "car", "car_interior", "car_part")
_OTHER_TYPES: Final = ("transportation", "graphics", "other")
_TYPE_LEVELS: Final = ("none", "1", "2", "latest")
_SHADOWS: Final = ("none", "auto", "drop")
_TRUTHS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_LARGEST_MARGIN: Final = {"%": 50.0, "px": 500.0}
_MAX_UPSCALE: Final = 16.0
FIELDS: Final = frozenset(
    {
        "size",
        "type",
        "type_level",
        "format",
        "roi",
        "crop",
        "crop_margin",
        "scale",
        "position",
        "channels",
        "add_shadow",
        "shadow_type",
        "shadow_opacity",
        "semitransparency",
        "bg_color",
    }
)
"""Parameters that say what the result looks like; images and files are not among them."""


class InvalidField(InvalidRecipe):
    """A parameter that is not valid, or that asks for what we cannot do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """As the specification of remove.bg names it."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    recipe: Recipe
    wants_mask: bool
    """Whether the result is the mask alone: `alpha.png` of the ZIP that the recipe makes."""
    has_type: bool
    """Whether the response says what the subject is."""

    @property
    def roi(self) -> Roi | None:
        """Part of the image that may hold the subject."""
        return self.recipe.roi


def translate(
    given: Mapping[str, str], *, has_background: bool = False, preview_mp: float = PREVIEW_MP
) -> Wanted:
    """Return what the parameters of a request ask for; empty ones count as not given.

    Args:
        given: The parameters that say what the result looks like.
        has_background: Whether the request has an image as the background; it is set later.
        preview_mp: Megapixels of `size=preview`.

    Raises:
        InvalidField: If a parameter is unknown or not valid, or asks for what we cannot do.

    >>> recipe = translate({"crop": "true", "scale": "80%"}).recipe
    >>> recipe.crop, recipe.fill, recipe.megapixels
    (True, 0.8, 0.25)
    """
    values = {name: value.strip() for name, value in given.items() if value.strip()}
    if unknown := sorted(values.keys() - FIELDS):
        raise InvalidField("unknown_parameter", f"Unknown parameter {', '.join(unknown)}")
    if has_background and "bg_color" in values:
        raise InvalidField("multiple_bg_sources", "Multiple background sources given: give one")
    _check_type(values)
    wants_mask = _choice(values, "channels", ("rgba", "alpha"), "rgba") == "alpha"
    colour = _colour(values)
    is_opaque = has_background or (colour is not None and colour.is_opaque)
    made = _format(values, is_opaque=is_opaque, wants_mask=wants_mask)
    background = "white" if made["format"] == "jpg" and not is_opaque else str(colour or "none")
    fields: dict[str, Any] = {
        "name": NAME,
        **made,
        "megapixels": _megapixels(values, made["format"], preview_mp),
        "fit": "limit",
        "background": "white" if has_background else background,
        "shadow": _shadow(values),
        **_subject(values),
    }
    recipe = _recipe(fields)
    level = _choice(values, "type_level", _TYPE_LEVELS, "1")
    return Wanted(recipe, wants_mask, has_type=level != "none")


def _recipe(fields: Mapping[str, Any]) -> Recipe:
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as err:
        raise InvalidField("invalid_parameter", "; ".join(problems(err))) from err
    for wrong in conflicts(recipe):
        name = "position" if wrong.startswith("position") else "crop_margin"
        raise InvalidField(f"invalid_{name}", f"Invalid {name}: {wrong}")
    return recipe


def _check_type(values: Mapping[str, str]) -> None:
    """Check the parameters that do not change the result: there is one model for all subjects."""
    _choice(values, "type", (*_TYPES, *_OTHER_TYPES), "auto")
    _truth(values, "semitransparency", default=True)


def _format(values: Mapping[str, str], *, is_opaque: bool, wants_mask: bool) -> dict[str, Any]:
    name = _choice(values, "format", _FORMATS, "auto")
    if wants_mask:
        if name not in ("auto", "png"):
            raise InvalidField("invalid_format", "Invalid format: channels=alpha is a PNG")
        return {"format": "zip"}
    if name == "auto":
        name = "jpg" if is_opaque else "png"
    return {"format": name}


def _megapixels(values: Mapping[str, str], made: str, preview_mp: float) -> float:
    size = values.get("size", "preview").lower()
    largest = _PNG_MP if made == "png" else FULL_MP
    if size in _PREVIEWS:
        return min(preview_mp, largest)
    if size in _FULL:
        return largest
    if size == "50mp":
        return _PNG_MP if made == "png" else _LARGEST_MP
    if size in _SIZES_MP:
        return _SIZES_MP[size]
    raise InvalidField("invalid_size", f"Invalid value {size!r} for parameter 'size'")


def _subject(values: Mapping[str, str]) -> dict[str, Any]:
    is_cropped = _truth(values, "crop", default=False)
    fields: dict[str, Any] = {"crop": is_cropped}
    margin = _parsed(values, "crop_margin", _margin)
    if is_cropped and margin is not None:
        fields["crop_margin"] = str(margin)
    if (roi := _roi(values)) is not None:
        fields["roi"] = str(roi)
    if values.get("scale", "original") != "original":
        fields |= {"fill": _parsed(values, "scale", _scale), "max_upscale": _MAX_UPSCALE}
    if "position" in values:
        fields["position"] = _parsed(values, "position", _position)
    return fields


def _shadow(values: Mapping[str, str]) -> dict[str, float] | None:
    kind = values.get("shadow_type", "none").lower()
    if kind in ("car", "3d") or (values.get("type") == "car" and _truth(values, "add_shadow")):
        raise InvalidField("invalid_shadow_type", "Shadows of cars are not supported")
    if kind not in _SHADOWS:
        raise InvalidField("invalid_shadow_type", f"Invalid shadow_type {kind!r}")
    opacity = _parsed(values, "shadow_opacity", _percent)
    if not _truth(values, "add_shadow") and kind == "none":
        return None
    return {} if opacity is None else {"opacity": opacity}


def _colour(values: Mapping[str, str]) -> Colour | None:
    colour = _parsed(values, "bg_color", parse_background)
    if colour is None or isinstance(colour, Colour):
        return colour
    raise InvalidField("invalid_bg_color", "Invalid bg_color parameter given")


def _roi(values: Mapping[str, str]) -> Roi | None:
    lengths = _parsed(values, "roi", _corners) or []
    if any(each.unit == "%" and each.amount > 100 for each in lengths):  # noqa: PLR2004 - percent
        raise InvalidField("roi_exceeds_bounds", "ROI exceeds image bounds")
    try:
        return Roi.parse(values["roi"]) if lengths else None
    except ValueError as err:
        raise InvalidField("roi_region_empty", "ROI region is empty") from err


def _corners(text: str) -> list[Length]:
    """Return the four lengths of a region, each of which has a unit."""
    given = parts(text)
    if len(given) != 4 or not all(each.endswith(("px", "%")) for each in given):  # noqa: PLR2004 - two corners
        raise ValueError("give x1 y1 x2 y2 in px or %")
    return [Length.parse(each) for each in given]


def _margin(text: str) -> Insets:
    margin = Insets.parse(text)
    for each in (margin.top, margin.right, margin.bottom, margin.left):
        if each.amount > _LARGEST_MARGIN[each.unit]:
            raise ValueError("the largest margin is 50% or 500px")
    return margin


def _scale(text: str) -> float:
    return _percent(text, least=10)


def _percent(text: str, least: float = 0) -> float:
    amount = float(text.removesuffix("%"))
    if not least <= amount <= 100:  # noqa: PLR2004 - percent
        raise ValueError("out of range")
    return amount / 100


def _position(text: str) -> str:
    given = parts(text)
    place = text if text in ("original", "center") or len(given) > 1 else f"{text} {text}"
    return str(parse_position(place)) if place != "center" else "centre"


def _choice(values: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = values.get(name, default).lower()
    if value not in choices:
        raise InvalidField(f"invalid_{name}", f"Invalid value {value!r} for parameter '{name}'")
    return value


def _truth(values: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = _TRUTHS.get(values.get(name, str(default)).lower())
    if value is None:
        raise InvalidField(f"invalid_{name}", f"Invalid {name} parameter given")
    return value


def _parsed(values: Mapping[str, str], name: str, parse: Callable[[str], _T]) -> _T | None:
    if name not in values:
        return None
    try:
        return parse(values[name])
    except ValueError as err:
        raise InvalidField(f"invalid_{name}", f"Invalid {name} parameter given") from err
