"""Arrays that pass between the stages, with their shape and meaning."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W, 3)`` uint8, C-contiguous, sRGB, upright: row 0 is the top of the image."""

Mask: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W)`` uint8: 0 is background, 255 is foreground, values between are soft edges."""

Cutout: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W, 4)`` uint8 RGBA with straight (unassociated) alpha."""


@dataclass(frozen=True)
class Opaque:
    """The pixels of an image without alpha of its own."""

    pixels: RgbImage


@dataclass(frozen=True)
class Translucent:
    """The pixels of an image whose own alpha is kept."""

    pixels: RgbImage
    """Straight colours, meaningless where *alpha* is 0."""
    alpha: Mask


SourceImage: TypeAlias = Opaque | Translucent
"""What a cutout is made from."""


@dataclass(frozen=True)
class Segmented:
    """A mask, and the range of the network's output before it was stretched."""

    mask: Mask
    low: float
    """Least value of the network's output, 0 to 1."""
    high: float
    """Greatest value of the network's output, 0 to 1."""
