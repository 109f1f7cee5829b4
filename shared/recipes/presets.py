"""Recipes that come with the product: what marketplaces ask for."""

from functools import cache
from importlib.resources import files
from typing import Final

from shared.recipes.loading import parse_recipe
from shared.recipes.recipe import Recipe

_FOLDER: Final = files("shared.recipes") / "data"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    found = (each.name for each in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def find(name: str) -> Recipe | None:
    """Return the preset *name*, or None."""
    return get(name) if name in names() else None


def get(name: str) -> Recipe:
    """Return the preset *name*, one of `names`."""
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return parse_recipe(text, origin=f"preset {name}")
