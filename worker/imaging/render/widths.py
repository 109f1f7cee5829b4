"""Resize a finished output, for outputs in several widths."""

import cv2
import numpy as np

from shared.recipes.values import Size
from worker.imaging.render.light import (
    divided,
    resized,
    times,
    to_alpha,
    to_light,
    to_mask,
    to_srgb,
)
from worker.imaging.render.types import Drawn, Placement
from worker.imaging.types import Cutout, RgbImage


def at_width(drawn: Drawn, width_px: int) -> Drawn:
    """Return *drawn* resized to *width_px*, or as it is if it is not wider than that.

    Resized in linear light, with premultiplied alpha.
    """
    old = drawn.placement
    if width_px >= old.canvas.width_px:
        return drawn
    factor = width_px / old.canvas.width_px
    canvas = Size(width_px, max(1, round(old.canvas.height_px * factor)))
    scale = old.scale * factor
    placement = Placement(
        canvas=canvas,
        scale=scale,
        left_px=old.left_px * factor,
        top_px=old.top_px * factor,
        subject=old.subject.scaled(factor, 0, 0),
        cut=old.cut,
        upscaled=max(1.0, scale),
    )
    mask = to_mask(resized(to_alpha(drawn.mask), canvas))
    return Drawn(_resized(drawn.pixels, canvas), mask, placement, drawn.fill)


def _resized(pixels: RgbImage | Cutout, canvas: Size) -> RgbImage | Cutout:
    if pixels.shape[2] == 3:  # noqa: PLR2004 - no alpha
        return to_srgb(resized(to_light(pixels), canvas))
    opacity = to_alpha(np.ascontiguousarray(pixels[..., 3]))
    light = times(to_light(np.ascontiguousarray(pixels[..., :3])), opacity)
    small, alpha = resized(light, canvas), resized(opacity, canvas)
    mask = to_mask(alpha)
    return np.asarray(cv2.copyTo(cv2.merge([to_srgb(divided(small, alpha)), mask]), mask), np.uint8)
