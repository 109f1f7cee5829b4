"""Translate the inputs of background removers on Replicate to a recipe."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from producer.gateway.problems import invalid
from producer.gateway.schemas import RemoveRequest
from shared.document import problems
from shared.recipes import Recipe
from shared.recipes.rules import conflicts

NAME: Final = "replicate"
_FIELDS: Final = frozenset({"format", "reverse", "threshold", "background_type"})
_FORMATS: Final = ("png", "jpg", "webp")
_TRANSPARENT: Final = ("", "rgba")
_MASK: Final = "map"


def translate(values: Mapping[str, Any], model: str | None) -> RemoveRequest:
    """Return what the inputs of a prediction ask for; without any it is the cutout.

    Args:
        values: Inputs beside the image: `format`, `reverse`, `threshold` (0 to 1) and
            `background_type` (`rgba`, `map` for the mask, `blur`, or a colour).
        model: Our model; None for the gateway's.

    Raises:
        Problem: If an input is unknown or not valid.
    """
    if unknown := sorted(values.keys() - _FIELDS):
        raise invalid(f"unknown input {', '.join(unknown)}; inputs: image, {_known()}")
    background = str(values.get("background_type") or "")
    if background == _MASK:
        if len(values) > 1:
            raise invalid("background_type = map is the mask as it is; leave out the other inputs")
        return RemoveRequest(model=model, outputs=["mask"])
    if not values or (list(values) == ["background_type"] and background in _TRANSPARENT):
        return RemoveRequest(model=model)
    return RemoveRequest(model=model, outputs=[_recipe(values, background)])


def _recipe(values: Mapping[str, Any], background: str) -> Recipe:
    format_ = str(values.get("format") or "png")
    if format_ not in _FORMATS:
        raise invalid(f"format must be one of {', '.join(_FORMATS)}")
    is_clear = background in _TRANSPARENT
    fields: dict[str, Any] = {
        "name": NAME,
        "format": format_,
        "background": ("white" if format_ == "jpg" else "none") if is_clear else background,
        "invert": values.get("reverse", False),
        "threshold": _threshold(values.get("threshold", 0)),
    }
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as err:
        raise invalid(problems(err)) from err
    if wrong := conflicts(recipe):
        raise invalid("; ".join(wrong))
    return recipe


def _threshold(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise invalid("threshold must be from 0 to 1")
    return max(1, round(value * 255)) if value else None


def _known() -> str:
    return ", ".join(sorted(_FIELDS))
