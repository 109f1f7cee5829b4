"""The canonical form of a recipe, and the hash of an output."""

import hashlib
import json
from typing import Any, Final

from shared.recipes.recipe import NOT_RENDERED, Recipe

RENDERER: Final = 1
"""Version of the renderer: raised whenever the same recipe gives other bytes."""


def canonical(recipe: Recipe) -> dict[str, Any]:
    """Return everything that determines an output's bytes, defaults included.

    Two recipes that are written differently and mean the same have equal canonical forms. A field
    that a later version adds is to be left out at its default, so that no hash changes by the
    upgrade; so are checks that are not made.
    """
    body = recipe.model_dump(mode="json", exclude={*NOT_RENDERED, "checks"})
    return body | {"checks": recipe.checks.model_dump(mode="json", exclude_defaults=True)}


def output_hash(mask_hash: str, recipe: Recipe) -> str:
    """Return 16 hex digits for the bytes of an output.

    Args:
        mask_hash: Hash of what determines the mask.
        recipe: The recipe; an image as its background is named by its SHA-256.
    """
    body = {"mask": mask_hash, "recipe": canonical(recipe), "renderer": RENDERER}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
