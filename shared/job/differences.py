"""Name the parameters in which two job documents differ."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.job.spec import JobSpec

_NOT_CHOSEN: Final = frozenset(
    {
        "counter_base",
        "date",
        "mask_hash",
        "mask_hash_alpha",
        "needs",
        "params_hash",
        "params_hash_alpha",
        "preview_every",
        "previews",
        "reuse_masks",
        "version",
        "weights_sha256",
    }
)
"""Fields that follow from others or the day, or that two submissions of a job may differ in."""


def differences(old: JobSpec, new: JobSpec) -> list[str]:
    """Return the names of the parameters that differ, such as `options.edges`.

    >>> from shared.job.outputs import RecipeOutput
    >>> from shared.recipes import Recipe
    >>> old = JobSpec(input_bucket="i", output_bucket="o", weights_sha256="0")
    >>> shop = [RecipeOutput(name="shop", recipe=Recipe(fill=fill)) for fill in (0.8, 0.9)]
    >>> first, second = (old.model_copy(update={"outputs": (each,)}) for each in shop)
    >>> differences(first, second), differences(old, first)
    (['outputs.shop.fill'], ['outputs.shop'])
    """
    return sorted(_differing(_chosen(old), _chosen(new)))


def _chosen(spec: JobSpec) -> dict[str, Any]:
    body = spec.model_dump(mode="json", exclude=set(_NOT_CHOSEN))
    recipes = {each.name: each.recipe.model_dump(mode="json") for each in spec.outputs}
    return body | {"outputs": recipes}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name in old.keys() | new.keys():
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing(one, other, f"{path}{name}.")
        elif one != other:
            yield f"{path}{name}"
