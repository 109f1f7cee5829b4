"""The outputs of a job that are made by recipes."""

from typing import Final

from shared.document import Document
from shared.recipes import Recipe

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
