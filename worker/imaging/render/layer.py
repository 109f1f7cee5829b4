"""The subject on a part of the canvas, before its background."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.recipes.values import Size
from worker.imaging.render.light import (
    Alpha,
    Light,
    times,
    to_alpha,
    to_light,
    to_mask,
    to_srgb,
)
from worker.imaging.render.types import Region
from worker.imaging.types import Mask, RgbImage

_Pixels = TypeVar("_Pixels", npt.NDArray[np.uint8], npt.NDArray[np.uint16])


@dataclass(frozen=True)
class Layer(ABC):
    """The subject, as large as it will be, and where it lies."""

    left: int
    """Of the part on the canvas, in pixels."""
    top: int
    alpha: Mask | Alpha
    """Of the subject alone, with 8 or 16 bits."""

    @property
    def region(self) -> Region:
        """Rows and columns of the canvas."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    @abstractmethod
    def mask(self) -> Mask:
        """The subject's alpha with 8 bits."""

    @abstractmethod
    def alpha_at(self, at: Region) -> Alpha:
        """Return the alpha of *at*, a part of the layer, with 16 bits."""

    @abstractmethod
    def light_at(self, at: Region) -> Light:
        """Return the premultiplied light of *at*."""

    @abstractmethod
    def srgb_at(self, at: Region, *, out: RgbImage | None = None) -> RgbImage:
        """Return the colours of *at*, which is opaque, written to *out* if given."""

    @abstractmethod
    def on_canvas(self, canvas: Size) -> "Layer":
        """Return the layer extended to all of *canvas*."""


@dataclass(frozen=True)
class Unscaled(Layer):
    """The source's own pixels; only soft parts need linear light."""

    alpha: Mask
    colours: RgbImage
    """Straight; meaningless where alpha is 0."""

    @property
    def mask(self) -> Mask:
        """See `Layer.mask`."""
        return self.alpha

    def alpha_at(self, at: Region) -> Alpha:
        """See `Layer.alpha_at`."""
        return to_alpha(self.alpha[at])

    def light_at(self, at: Region) -> Light:
        """See `Layer.light_at`."""
        return times(to_light(self.colours[at]), self.alpha_at(at))

    def srgb_at(self, at: Region, *, out: RgbImage | None = None) -> RgbImage:
        """See `Layer.srgb_at`."""
        if out is None:
            return self.colours[at]
        out[:] = self.colours[at]
        return out

    def on_canvas(self, canvas: Size) -> "Unscaled":
        """See `Layer.on_canvas`."""
        alpha = _extended(self.alpha, self.region, canvas)
        return Unscaled(0, 0, alpha, _extended(self.colours, self.region, canvas))


@dataclass(frozen=True)
class Scaled(Layer):
    """Pixels after resampling."""

    alpha: Alpha
    light: Light
    """Premultiplied; with a ground, the opaque colours of both."""
    has_ground: bool

    @property
    def mask(self) -> Mask:
        """See `Layer.mask`."""
        return to_mask(self.alpha)

    def alpha_at(self, at: Region) -> Alpha:
        """See `Layer.alpha_at`."""
        return self.alpha[at]

    def light_at(self, at: Region) -> Light:
        """See `Layer.light_at`."""
        return self.light[at]

    def srgb_at(self, at: Region, *, out: RgbImage | None = None) -> RgbImage:
        """See `Layer.srgb_at`."""
        return to_srgb(self.light[at], out=out)

    def on_canvas(self, canvas: Size) -> "Scaled":
        """See `Layer.on_canvas`; not possible with a ground."""
        alpha = _extended(self.alpha, self.region, canvas)
        light = _extended(self.light, self.region, canvas)
        return Scaled(0, 0, alpha, light, has_ground=False)


def _extended(pixels: _Pixels, region: Region, canvas: Size) -> _Pixels:
    """Return *canvas* with *pixels* at *region* and zeros elsewhere."""
    extended = np.zeros((canvas.height_px, canvas.width_px, *pixels.shape[2:]), pixels.dtype)
    extended[region] = pixels
    return extended
