"""Put the subject onto its background, in linear light."""

import cv2
import numpy as np

from shared.recipes.background import OPAQUE
from worker.imaging.render.background import Backdrop
from worker.imaging.render.layer import Layer, Scaled
from worker.imaging.render.light import (
    WHITE,
    Alpha,
    Light,
    divided,
    times,
    to_mask,
    to_srgb,
)
from worker.imaging.render.sharpen import sharpened
from worker.imaging.render.tiles import Kind, tiles
from worker.imaging.render.types import Region
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
    canvas = alone(behind)
    part = canvas[layer.region]
    if isinstance(layer, Scaled) and layer.has_ground:
        to_srgb(layer.light, out=part)
    else:
        for kind, at in tiles(layer.alpha):
            if kind is Kind.SOLID:
                _solid(layer, at, part[at])
            elif kind is Kind.SOFT or _is_shaded(behind, lit, at):
                passing = _passing(layer.alpha_at(at), None if lit is None else lit[at])
                under = behind.light_at(_moved(at, layer))
                part[at] = _mixed(layer.light_at(at), under, passing, behind.opacity)
    if sharpen:
        most = int(np.iinfo(layer.alpha.dtype).max)
        is_solid = np.asarray(cv2.inRange(layer.alpha, most, most), np.uint8)
        part[..., :3] = sharpened(np.ascontiguousarray(part[..., :3]), is_solid, sharpen)
    return canvas


def alone(behind: Backdrop) -> RgbImage | Cutout:
    """Return *behind* without a subject."""
    if behind.opacity == OPAQUE:
        return behind.pixels
    cutout = np.zeros((*behind.pixels.shape[:2], 4), np.uint8)
    if behind.opacity:
        cutout[..., :3], cutout[..., 3] = behind.pixels, behind.opacity
    return cutout


def _solid(layer: Layer, at: Region, out: RgbImage | Cutout) -> None:
    """Write the colours of *layer* at *at* to *out*, opaque."""
    if out.shape[2] == 3:  # noqa: PLR2004 - no alpha
        layer.srgb_at(at, out=out)
    else:
        cv2.cvtColor(layer.srgb_at(at), cv2.COLOR_RGB2RGBA, dst=out)


def _is_shaded(behind: Backdrop, lit: Alpha | None, at: Region) -> bool:
    """Return whether *at*, where nothing of the subject is, differs from the background alone."""
    if lit is None:
        return False
    # Mixing rounds the colours of a translucent background.
    return 0 < behind.opacity < OPAQUE or int(lit[at].min()) < WHITE


def _moved(at: Region, layer: Layer) -> Region:
    """Return the rows and columns of the canvas at which *at* of *layer* lies."""
    rows, columns = at
    return (
        slice(rows.start + layer.top, rows.stop + layer.top),
        slice(columns.start + layer.left, columns.stop + layer.left),
    )


def _passing(alpha: Alpha, lit: Alpha | None) -> Alpha:
    """Return the share of the background's light that is neither hidden nor in shadow."""
    shown = cv2.bitwise_not(alpha)
    if lit is not None:
        shown = cv2.multiply(shown, lit, scale=1 / WHITE)
    return np.asarray(shown, np.uint16)


def _mixed(light: Light, under: Light, passing: Alpha, opacity: int) -> RgbImage | Cutout:
    """Return premultiplied *light* over *under*, of which the share *passing* is seen."""
    base = times(under, passing)
    if opacity == OPAQUE:
        return to_srgb(np.asarray(cv2.add(light, base), np.uint16))
    share = opacity / OPAQUE
    mixed = np.asarray(cv2.addWeighted(light, 1, base, share, 0), np.uint16)
    alpha: Alpha = np.rint(WHITE - passing * np.float32(1 - share)).astype(np.uint16)
    mask = to_mask(alpha)
    # Colours under alpha 0 are cleared: they would otherwise be readable in the file.
    return np.asarray(cv2.copyTo(cv2.merge([to_srgb(divided(mixed, alpha)), mask]), mask), np.uint8)
