"""Read recipes from TOML and JSON, naming every problem at once."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.document import problems
from shared.errors import InvalidRecipe
from shared.recipes.recipe import Recipe
from shared.recipes.rules import conflicts


def parse_recipe(text: str, *, origin: str) -> Recipe:
    """Return the recipe in *text*, which is JSON if it begins with `{`, else TOML.

    Args:
        text: The recipe.
        origin: File or preset that the text is of, for the message.

    Raises:
        InvalidRecipe: If it is neither, or has problems; the message lists all.
    """
    try:
        is_json = text.lstrip("\ufeff \t\r\n").startswith("{")
        body = json.loads(text.lstrip("\ufeff")) if is_json else tomllib.loads(text)
    except ValueError as err:
        raise InvalidRecipe(f"recipe {origin} is neither TOML nor JSON: {err}") from err
    return build_recipe(body, origin=origin)


def build_recipe(body: Mapping[str, Any], *, origin: str) -> Recipe:
    """Return the recipe with the fields *body*; see `parse_recipe`."""
    found: list[str] = []
    try:
        recipe = Recipe.model_validate(body)
    except ValidationError as err:
        found.append(problems(err))
        wrong = {str(each["loc"][0]) if each["loc"] else "" for each in err.errors()}
        # The other fields are compared all the same, so that one attempt shows every problem.
        valid = {} if "" in wrong else {name: body[name] for name in body.keys() - wrong}
        recipe = Recipe.model_validate(valid)
    if found := [*found, *conflicts(recipe)]:
        raise InvalidRecipe(f"recipe {origin}: {'; '.join(found)}")
    return recipe
