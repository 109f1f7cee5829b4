"""Convert between sRGB and linear light, where colours mix as light does."""

from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from shared.recipes.values import Size
from worker.imaging.types import Mask, RgbImage

Light: TypeAlias = npt.NDArray[np.uint16]
"""``(H, W, 3)`` uint16: linear light, 0 to `WHITE`; premultiplied where an alpha goes with it."""
Alpha: TypeAlias = npt.NDArray[np.uint16]
"""``(H, W)`` uint16: 0 to `WHITE`."""
WHITE: Final = 65535

_EPSILON: Final = 1e-9
_LINEAR_UP_TO: Final = 0.04045
"""The transfer function of IEC 61966-2-1 is linear up to this value, else a power."""
_SLOPE: Final = 12.92

_BYTES: Final = np.arange(256) / 255
_WORDS: Final = np.arange(WHITE + 1) / WHITE
# Each of the 256 values survives both ways.
_LINEAR: Final = np.rint(
    WHITE * np.where(_BYTES <= _LINEAR_UP_TO, _BYTES / _SLOPE, ((_BYTES + 0.055) / 1.055) ** 2.4)
).astype(np.uint16)
_SRGB: Final = np.rint(
    255
    * np.where(
        _WORDS <= _LINEAR_UP_TO / _SLOPE,
        _WORDS * _SLOPE,
        1.055 * _WORDS ** (1 / 2.4) - 0.055,
    )
).astype(np.uint8)
_ALPHA: Final = (np.arange(256) * 257).astype(np.uint16)


def to_light(pixels: RgbImage, *, out: Light | None = None) -> Light:
    """Return sRGB *pixels* in linear light, written to *out* if given."""
    return np.asarray(cv2.LUT(pixels, _LINEAR, dst=out), np.uint16)


def to_srgb(light: Light, *, out: RgbImage | None = None) -> RgbImage:
    """Return linear *light* as sRGB, rounded, written to *out* if given."""
    return np.asarray(cv2.LUT(light, _SRGB, dst=out), np.uint8)


def to_alpha(mask: Mask) -> Alpha:
    """Return *mask* with 16 bits."""
    return np.asarray(cv2.LUT(mask, _ALPHA), np.uint16)


def to_mask(alpha: Alpha) -> Mask:
    """Return *alpha* with 8 bits, rounded."""
    return np.asarray(cv2.convertScaleAbs(alpha, alpha=1 / 257), np.uint8)


def times(light: Light, alpha: Alpha, *, out: Light | None = None) -> Light:
    """Return *light* multiplied by *alpha*, rounded, written to *out* if given."""
    return np.asarray(cv2.multiply(light, _repeated(alpha), dst=out, scale=1 / WHITE), np.uint16)


def divided(light: Light, alpha: Alpha) -> Light:
    """Return premultiplied *light* divided by its *alpha*; 0 where that is 0."""
    return np.asarray(cv2.divide(light, _repeated(alpha), scale=WHITE), np.uint16)


def resized(values: npt.NDArray[np.uint16], size: Size) -> npt.NDArray[np.uint16]:
    """Return *values*, (H, W) or (H, W, 3) linear light or alpha, resized to *size*.

    Both filters have no negative weights, so that nothing rings: the mean over a pixel's area below
    half the size, else linear interpolation, which is closer to the true image there. Means over
    whole pixels are several times faster: if they divide *values* evenly, they come first and
    linear interpolation does the rest.
    """
    height, width = values.shape[:2]
    if (width, height) == (size.width_px, size.height_px):
        return values
    factor = whole_factor(max(size.width_px / width, size.height_px / height))
    if factor > 1 and not width % factor and not height % factor:
        means = cv2.resize(
            values, (width // factor, height // factor), interpolation=cv2.INTER_AREA
        )
        values, factor = np.asarray(means, np.uint16), 1
    how = cv2.INTER_LINEAR if factor == 1 else cv2.INTER_AREA
    to = size.width_px, size.height_px
    return np.asarray(cv2.resize(values, to, interpolation=how), np.uint16)


def whole_factor(scale: float) -> int:
    """Return how many whole pixels make one at *scale*, at least 1."""
    return max(1, int(1 / scale + _EPSILON))


def _repeated(alpha: Alpha) -> Light:
    """Return *alpha* once for each channel."""
    return np.asarray(cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), np.uint16)
