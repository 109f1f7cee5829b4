"""Draw an output: from colours, mask and recipe to pixels."""

from collections.abc import Mapping

import cv2
import numpy as np

from shared.recipes.background import Colour
from shared.recipes.recipe import Recipe
from shared.recipes.values import Size
from worker.imaging.render.background import Cover, backdrop
from worker.imaging.render.composite import alone, composite
from worker.imaging.render.geometry import plan
from worker.imaging.render.resample import resample
from worker.imaging.render.shadow import lit
from worker.imaging.render.source import RenderSource
from worker.imaging.render.types import Drawn, Placement
from worker.imaging.types import Mask


def draw(source: RenderSource, recipe: Recipe, *, background_image: Cover | None = None) -> Drawn:
    """Return the output that *recipe* describes. A pure function of its arguments.

    On a plain background haze (alpha up to 10 of 255) and specks are left out. A mask without a
    subject gives the background alone.

    Args:
        source: Image, foreground colours and mask; not changed.
        recipe: What the output looks like.
        background_image: The image that the recipe's background names.

    Raises:
        ValueError: If the recipe's background is an image that is not given.
    """
    found = source.found(recipe)
    placement = plan(Size(*source.mask.shape[::-1]), found.subject, recipe)
    background = recipe.background
    plain = background if isinstance(background, Colour) else None
    mask = found.clean if plain else found.mask
    ground = plain if plain and plain.is_opaque and not recipe.shadow else None
    layer = resample(source.colours, mask, placement, ground)
    behind = backdrop(background, placement.canvas, source.pixels, background_image)
    alpha = np.zeros(behind.pixels.shape[:2], np.uint8)
    if layer is None:
        return Drawn(alone(behind), alpha, placement, _measured(alpha, placement))
    alpha[layer.region] = layer.mask
    shade = None
    if recipe.shadow:
        shade = lit(alpha, recipe.shadow, placement.subject.height)
        layer = layer.on_canvas(placement.canvas)
    sharpen = recipe.sharpen if placement.scale < 1 else 0.0
    pixels = composite(layer, behind, lit=shade, sharpen=sharpen)
    return Drawn(pixels, alpha, placement, _measured(alpha, placement))


def _measured(mask: Mask, placement: Placement) -> Mapping[str, float]:
    """Return the share of the canvas that the visible subject fills; 0 without a subject.

    `longest_side` is the greater of its share of the width and of the height.
    """
    canvas, box = placement.canvas, placement.subject
    width = max(0.0, min(canvas.width_px, box.right) - max(0, box.left)) / canvas.width_px
    height = max(0.0, min(canvas.height_px, box.bottom) - max(0, box.top)) / canvas.height_px
    area = cv2.sumElems(mask)[0] / 255 / mask.size
    if not area:
        width = height = 0.0
    return {"longest_side": max(width, height), "box_area": width * height, "mask_area": area}
