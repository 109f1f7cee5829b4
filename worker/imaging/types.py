"""Arrays that pass between the stages, with their shape and meaning."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W, 3)`` uint8, C-contiguous, sRGB, upright: row 0 is the top of the image."""

Mask: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W)`` uint8: 0 is background, 255 is foreground, values between are soft edges."""

Cutout: TypeAlias = npt.NDArray[np.uint8]
"""``(H, W, 4)`` uint8 RGBA with straight (unassociated) alpha."""


@dataclass(frozen=True, kw_only=True)
class SourceMetadata:
    """What outputs keep of a source's metadata. Never camera or place."""

    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution in pixels per inch, positive and finite."""
    copyright: str = ""
    author: str = ""
    digital_source_type: str = ""
    """Address of an IPTC term that says how the image was made, for example by a model."""
    title: str = ""
    description: str = ""
    credit: str = ""
    usage_terms: str = ""


NO_METADATA: Final = SourceMetadata()


@dataclass(frozen=True)
class SourceImage:
    """What a cutout is made from."""

    pixels: RgbImage
    """Straight colours, meaningless where *alpha* is 0."""
    alpha: Mask | None = None
    """The image's own alpha, if it is kept."""
    metadata: SourceMetadata = NO_METADATA
    """What outputs are to keep of it."""
    doubts: tuple[str, ...] = ()
    """Signs of damage: why these pixels may be wrong. Each forces the verdict `review`."""


@dataclass(frozen=True)
class Segmented:
    """A mask, and the range of the network's output before it was stretched."""

    mask: Mask
    low: float
    """Least value of the network's output, 0 to 1."""
    high: float
    """Greatest value of the network's output, 0 to 1."""
