"""The subject on a part of the canvas, before its background."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from shared.recipes.values import Size
from worker.imaging.render.light import Alpha, Light, times, to_light, to_srgb
from worker.imaging.types import RgbImage

Region: TypeAlias = tuple[slice, slice]
"""Rows and columns."""
_Pixels = TypeVar("_Pixels", RgbImage, Light, Alpha)


@dataclass(frozen=True)
class Layer(ABC):
    """The subject, as large as it will be, and where it lies."""

    left: int
    """Of the part on the canvas, in pixels."""
    top: int
    alpha: Alpha
    """Of the subject alone."""

    @property
    def region(self) -> Region:
        """Rows and columns of the canvas."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @abstractmethod
    def light_at(self, at: Region) -> Light:
        """Return the premultiplied light of *at*, a part of the layer."""

    @abstractmethod
    def srgb_at(self, at: Region, *, out: RgbImage | None = None) -> RgbImage:
        """Return the colours of *at*, which is opaque, written to *out* if given."""

    @abstractmethod
    def on_canvas(self, canvas: Size) -> "Layer":
        """Return the layer extended to all of *canvas*."""


@dataclass(frozen=True)
class Unscaled(Layer):
    """The source's own pixels; only soft parts need linear light."""

    colours: RgbImage
    """Straight; meaningless where alpha is 0."""

    def light_at(self, at: Region) -> Light:
        """See `Layer.light_at`."""
        return times(to_light(self.colours[at]), self.alpha[at])

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

    light: Light
    """Premultiplied; with a ground, the opaque colours of both."""
    has_ground: bool

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
