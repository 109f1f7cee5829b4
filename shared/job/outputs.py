"""The outputs of a job that are made by recipes."""

from collections.abc import Iterable
from typing import Final

from shared.document import Document
from shared.recipes import Recipe
from shared.recipes.background import StoredAsset

MAX_OUTPUTS: Final = 16
RESERVED: Final = frozenset({"cutout", "mask", "held", "previews"})
"""Names that no recipe's output can have."""


class RecipeOutput(Document):
    """One output of a job, with its recipe as it was at submission."""

    name: str
    recipe: Recipe
    hash: str = ""
    """Hash of what determines its bytes; see `shared.recipes.output_hash`."""
    hash_alpha: str = ""
    """The same for images with transparency if `options.alpha` is `auto`, else ""."""

    @property
    def is_held(self) -> bool:
        """Whether it goes below `held/` if it fails a check."""
        return self.recipe.on_review == "hold"


def assets_of(outputs: Iterable[RecipeOutput]) -> tuple[str, ...]:
    """Return the SHA-256 of each image that submitted *outputs* name, without repetitions."""
    backgrounds = (each.recipe.background for each in outputs)
    stored = (each.sha256 for each in backgrounds if isinstance(each, StoredAsset))
    return tuple(dict.fromkeys(stored))
