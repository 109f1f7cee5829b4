"""Resolve the transparent colour of a PNG, which its chunk `tRNS` gives in samples of the file."""

import contextlib
import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from worker.imaging.decode.files import opened

_DEPTH_AT: Final = 24
"""Position of the bits per sample: the header chunk is the first of every PNG."""
_DEEP_BITS: Final = 16
_HIGH_BYTES: Final = "RGB;16B"
_LOW_BYTES: Final = "RGB;16L"
"""Pillow keeps one byte of each sample. In little-endian order it takes the byte that is the low
one of a big-endian sample, such as those of a PNG."""


def resolve_transparent_colour(image: ImageFile, data: bytes) -> None:
    """Make the transparent colour of *image*, a loaded PNG, fit the pixels that Pillow returns.

    Pillow scales samples of 2 and 4 bits up and those of 16 bits down, but not the colour. The
    result is a scaled colour or, for 16 bits, an alpha channel: only the whole sample says whether
    a pixel has the colour (PNG, 13.12).

    Args:
        image: Changed in place.
        data: The file that *image* was read from.
    """
    key = image.info.get("transparency")
    depth = data[_DEPTH_AT]
    top = (1 << depth) - 1
    if image.mode in ("1", "L") and isinstance(key, int):
        image.info["transparency"] = (key & top) * 255 // top
    elif image.mode == "RGB" and isinstance(key, tuple):
        if depth < _DEEP_BITS:
            image.info["transparency"] = tuple(sample & top for sample in key)
        else:
            image.putalpha(_alpha_of_16_bit(image, data, key))
            del image.info["transparency"]


def _alpha_of_16_bit(image: ImageFile, data: bytes, key: tuple[int, ...]) -> Image.Image:
    """Return 0 where all bytes of a pixel are those of *key*, else 255."""
    has_key = _equals(image, [sample >> 8 for sample in key])
    if has_key.any():
        has_key &= _equals(_low_bytes(data), [sample & 0xFF for sample in key])
    return Image.fromarray(np.where(has_key, 0, 255).astype(np.uint8))


def _equals(image: Image.Image, key: list[int]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (np.asarray(image) == key).all(axis=-1)
    return found


def _low_bytes(data: bytes) -> Image.Image:
    with opened(io.BytesIO(data), "PNG") as image:
        image.tile = [
            tile._replace(args=_LOW_BYTES) if tile.args == _HIGH_BYTES else tile
            for tile in image.tile
        ]
        with contextlib.suppress(OSError):  # truncated, which the caller has accepted
            image.load()
        image.tile = []
        return image.copy()
