"""The outputs of a job, from the names and recipe files that a user gives."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from producer.submission.assets import read_local
from shared.errors import InvalidOption, InvalidRecipe
from shared.job.output_keys import BUILT_IN, CUTOUT, MASK, OUTPUT_NAME
from shared.job.outputs import MAX_OUTPUTS, RESERVED, RecipeOutput
from shared.recipes import Recipe, parse_recipe, presets
from shared.recipes.rules import conflicts

GivenOutput: TypeAlias = str | Recipe
"""A built-in, a preset or the path of a recipe file; in Python also a recipe."""
MAX_RECIPE_BYTES: Final = 100_000
_FILE: Final = re.compile(r"[/\\]|\.(?:toml|json)$", re.IGNORECASE)
"""What makes a name a path: a separator, or the extension of a recipe file."""


@dataclass(frozen=True)
class Outputs:
    """What a job writes for each image."""

    recipes: tuple[RecipeOutput, ...] = ()
    has_cutout: bool = True
    has_mask: bool = True
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Images beside recipe files that these name as backgrounds, by SHA-256."""

    @property
    def is_default(self) -> bool:
        """Whether it is cutout and mask, which every worker can write."""
        return self == Outputs()


def choose_outputs(given: Sequence[GivenOutput], *, keep_mask: bool = True) -> Outputs:
    """Return the outputs that *given* names; cutout and mask if it is empty.

    Args:
        given: Names, files and recipes, in the order in which they are written.
        keep_mask: Whether the mask is written, if only for outputs that are made later.

    Raises:
        InvalidRecipe: If recipes have problems; the message lists those of all.
        InvalidOption: If names are unknown, reserved or doubled, or there are too many.
    """
    made, files = _loaded([each for each in given if each not in BUILT_IN])
    names = [each.name for each in made]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidOption(f"two outputs are called {', '.join(doubled)}; give each its own name")
    if len(made) > MAX_OUTPUTS:
        raise InvalidOption(f"{len(made)} outputs; a job has at most {MAX_OUTPUTS}")
    if not keep_mask and MASK in given:
        raise InvalidOption("--no-mask and --output mask exclude each other")
    has_cutout = not given or CUTOUT in given
    if not (made or has_cutout or keep_mask):
        raise InvalidOption("the job would write nothing; give an --output, or keep the mask")
    return Outputs(tuple(made), has_cutout, keep_mask, files)


def _loaded(given: Iterable[GivenOutput]) -> tuple[list[RecipeOutput], Mapping[str, bytes]]:
    """Return the recipes of *given* and the files that they name; report all problems together."""
    found: list[RecipeOutput] = []
    files: dict[str, bytes] = {}
    problems = []
    for each in given:
        try:
            output = _load(each)
            recipe, named = read_local(output.recipe, _folder(each), origin=repr(output.name))
        except InvalidRecipe as err:
            problems.append(str(err))
        else:
            found.append(output.model_copy(update={"recipe": recipe}))
            files |= named
    if problems:
        raise InvalidRecipe("\n".join(problems))
    return found, files


def _folder(given: GivenOutput) -> Path | None:
    """Return the folder of a recipe file; None of a preset and a recipe."""
    return Path(given).parent if isinstance(given, str) and _FILE.search(given) else None


def _load(given: GivenOutput) -> RecipeOutput:
    if isinstance(given, Recipe):
        if wrong := conflicts(given):
            raise InvalidRecipe(f"recipe {given.name!r}: {'; '.join(wrong)}")
        return _named(given, given.name)
    if _FILE.search(given):
        path = Path(given)
        return _named(parse_recipe(_read(path), origin=given), path.stem)
    if (recipe := presets.find(given)) is None:
        is_file = Path(f"{given}.toml").exists()
        hint = f"; for the file give ./{given}.toml" if is_file else ""
        known = ", ".join((*BUILT_IN, *presets.names()))
        raise InvalidRecipe(f"output {given!r} is no preset{hint}; known: {known}")
    return _named(recipe, given)


def _named(recipe: Recipe, stem: str) -> RecipeOutput:
    name = recipe.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    if not OUTPUT_NAME.fullmatch(name):
        raise InvalidRecipe(f"recipe {stem!r} has no usable name; set name, for example shop-main")
    if name in RESERVED:
        raise InvalidRecipe(f"recipe {stem!r}: the name {name} is reserved; set another name")
    return RecipeOutput(name=name, recipe=recipe)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_RECIPE_BYTES + 1)
        if len(body) > MAX_RECIPE_BYTES:
            raise InvalidRecipe(f"recipe {path} has over {MAX_RECIPE_BYTES} bytes; is it the file?")
        return body.decode("utf-8-sig")
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or "it is not UTF-8 text"
        raise InvalidRecipe(f"recipe {path} cannot be read: {reason}") from err
