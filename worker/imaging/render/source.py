"""What the outputs of an image are drawn from."""

from dataclasses import dataclass, field

from shared.recipes.recipe import Recipe
from worker.imaging.render.mask_options import OPTIONS, region_of, with_options
from worker.imaging.render.subject import Found, find_subject
from worker.imaging.types import Mask, RgbImage


@dataclass(frozen=True)
class RenderSource:
    """What outputs are drawn from; all of the same height and width. For one thread at a time."""

    pixels: RgbImage
    """The source's own colours."""
    colours: RgbImage
    """Foreground colours, without the old background (`edge_colours`)."""
    mask: Mask
    _last: dict[tuple[object, ...], Found] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def found(self, recipe: Recipe) -> Found:
        """Return the subject under the mask options of *recipe*.

        Outputs mostly have equal options: what the last one had is kept.
        """
        options = tuple(getattr(recipe, name) for name in OPTIONS)
        if options not in self._last:
            self._last.clear()
            region = region_of(recipe.roi, self.mask.shape)
            self._last[options] = find_subject(with_options(self.mask, recipe, region), region)
        return self._last[options]
