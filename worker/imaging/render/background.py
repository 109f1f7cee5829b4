"""Make the background of an output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from shared.recipes.background import (
    OPAQUE,
    Asset,
    Background,
    Blur,
    Colour,
    NoBackground,
    StoredAsset,
)
from shared.recipes.values import Size
from worker.imaging.render.light import Light, resized, times, to_alpha, to_light, to_srgb
from worker.imaging.render.soften import softened
from worker.imaging.render.tiles import TILE_PX
from worker.imaging.render.types import Region
from worker.imaging.types import Mask, RgbImage

Cover: TypeAlias = Callable[[Size], RgbImage]
"""Returns a background image on a canvas, as `covering` does; it may return the same array again,
which is not changed."""
BLUR_SHARE: Final = 0.03
"""Standard deviation of a blurred background, as a share of the canvas's longest side."""


@dataclass(frozen=True)
class Backdrop:
    """What lies behind the subject."""

    pixels: RgbImage
    """Of the canvas's size."""
    opacity: int
    """0 to 255, of all pixels."""
    band: Light | None = None
    """Rows of a tile in linear light, if the background has one colour: converted only once."""

    def light_at(self, at: Region) -> Light:
        """Return the linear light of *at*, a tile or a part of one."""
        if self.band is None:
            return to_light(self.pixels[at])
        rows, columns = at
        return self.band[: rows.stop - rows.start, columns]


def backdrop(
    background: Background, canvas: Size, source: RgbImage, image: Cover | None
) -> Backdrop:
    """Return *background* on *canvas*.

    Args:
        background: What the recipe asks for.
        canvas: Its size.
        source: The source's own pixels, for a blurred background.
        image: The image that the background names.

    Raises:
        ValueError: If the background is an image and *image* is None.
    """
    match background:
        case NoBackground():
            return Backdrop(np.zeros((canvas.height_px, canvas.width_px, 3), np.uint8), 0)
        case Colour() as colour:
            pixels = plain(colour, canvas)
            return Backdrop(pixels, colour.alpha, to_light(pixels[:TILE_PX]))
        case Blur():
            longest_px = max(canvas.width_px, canvas.height_px)
            return Backdrop(softened(covering(source, canvas), BLUR_SHARE * longest_px), OPAQUE)
        case Asset() | StoredAsset():
            if image is None:
                raise ValueError(f"the background image {background} was not given")
            return Backdrop(image(canvas).copy(), OPAQUE)  # the subject is painted on it


def plain(colour: Colour, canvas: Size) -> RgbImage:
    """Return *canvas* in one colour, whatever its alpha."""
    pixels = np.empty((canvas.height_px, canvas.width_px, 3), np.uint8)
    pixels[0] = colour.red, colour.green, colour.blue
    pixels[1:] = pixels[0]  # several times faster than one colour at a time
    return pixels


def covering(image: RgbImage, canvas: Size) -> RgbImage:
    """Return the centre of *image*, resized in linear light so that it just covers *canvas*."""
    height, width = image.shape[:2]
    scale = max(canvas.width_px / width, canvas.height_px / height)
    cut_width = min(width, max(1, round(canvas.width_px / scale)))
    cut_height = min(height, max(1, round(canvas.height_px / scale)))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    part = np.ascontiguousarray(image[top : top + cut_height, left : left + cut_width])
    return to_srgb(resized(to_light(part), canvas))


def on_white(pixels: RgbImage, alpha: Mask) -> RgbImage:
    """Return an image that has an *alpha* of its own on white, mixed in linear light."""
    opacity = to_alpha(alpha)
    white = cv2.cvtColor(cv2.bitwise_not(opacity), cv2.COLOR_GRAY2RGB)
    mixed = cv2.add(times(to_light(pixels), opacity), white)
    return to_srgb(np.asarray(mixed, np.uint16))
