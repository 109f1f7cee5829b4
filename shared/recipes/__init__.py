"""Recipes: what finished images look like. Data only: no pixels, no services."""

from shared.recipes import presets
from shared.recipes.canonical import RENDERER, canonical, output_hash
from shared.recipes.loading import build_recipe, parse_recipe
from shared.recipes.recipe import Recipe, Shadow

__all__ = [
    "RENDERER",
    "Recipe",
    "Shadow",
    "build_recipe",
    "canonical",
    "output_hash",
    "parse_recipe",
    "presets",
]
