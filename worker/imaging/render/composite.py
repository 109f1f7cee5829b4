"""Put the subject onto its background, in linear light."""

import cv2
import numpy as np

from shared.recipes.background import OPAQUE
from worker.imaging.render.background import Backdrop
from worker.imaging.render.light import (
    WHITE,
    Alpha,
    Light,
    divided,
    times,
    to_light,
    to_mask,
    to_srgb,
)
from worker.imaging.render.resample import Layer
from worker.imaging.render.sharpen import sharpened
from worker.imaging.render.tiles import Kind, tiles
from worker.imaging.types import Cutout, RgbImage


def composite(
    layer: Layer, behind: Backdrop, *, lit: Alpha | None, sharpen: float
) -> RgbImage | Cutout:
    """Return *layer* on *behind*: (H, W, 3), or (H, W, 4) if something shows through that.

    Args:
        layer: The subject on a part of the canvas; on all of it if there is a shadow.
        behind: The background; an opaque one is painted on.
        lit: Share of light that the shadow leaves on the background, of the layer's size.
        sharpen: Strength of sharpening, 0 to 1.
    """
    if behind.opacity == OPAQUE:
        return _on_opaque(layer, behind.pixels, lit, sharpen)
    passing = _passing(layer.alpha, lit)
    base = times(to_light(behind.pixels[layer.region]), passing)
    opacity = behind.opacity / OPAQUE
    light = np.asarray(cv2.addWeighted(layer.light, 1, base, opacity, 0), np.uint16)
    alpha: Alpha = np.rint(WHITE - passing * np.float32(1 - opacity)).astype(np.uint16)
    mask = to_mask(alpha)
    cutout = alone(behind)
    # Colours under alpha 0 are cleared: they would otherwise be readable in the file.
    painted = cv2.merge([_sharp(divided(light, alpha), sharpen), mask])
    cutout[layer.region] = cv2.copyTo(painted, mask)
    return cutout


def alone(behind: Backdrop) -> RgbImage | Cutout:
    """Return *behind* without a subject."""
    if behind.opacity == OPAQUE:
        return behind.pixels
    if not behind.opacity:
        return np.zeros((*behind.pixels.shape[:2], 4), np.uint8)
    opacity = np.full(behind.pixels.shape[:2], behind.opacity, np.uint8)
    return np.asarray(cv2.merge([behind.pixels, opacity]), np.uint8)


def _on_opaque(layer: Layer, behind: RgbImage, lit: Alpha | None, sharpen: float) -> RgbImage:
    """Paint *layer* onto *behind* and return that."""
    part = behind[layer.region]
    if layer.has_ground:
        to_srgb(layer.light, out=part)
    for kind, at in () if layer.has_ground else tiles(layer.alpha):
        if kind is Kind.SOLID:
            to_srgb(layer.light[at], out=part[at])
        elif kind is Kind.SOFT or lit is not None:
            passing = _passing(layer.alpha[at], None if lit is None else lit[at])
            base = times(to_light(part[at]), passing)
            to_srgb(np.asarray(cv2.add(layer.light[at], base), np.uint16), out=part[at])
    if sharpen:
        part[:] = sharpened(part, sharpen)
    return behind


def _passing(alpha: Alpha, lit: Alpha | None) -> Alpha:
    """Return the share of the background's light that is neither hidden nor in shadow."""
    shown = cv2.bitwise_not(alpha)
    if lit is not None:
        shown = cv2.multiply(shown, lit, scale=1 / WHITE)
    return np.asarray(shown, np.uint16)


def _sharp(light: Light, strength: float) -> RgbImage:
    pixels = to_srgb(light)
    return sharpened(pixels, strength) if strength else pixels
