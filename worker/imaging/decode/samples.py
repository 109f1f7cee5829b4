"""From any of Pillow's modes to 8-bit grey, RGB, CMYK or LAB, and an alpha apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from shared.errors import UnsupportedImage

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.ImageFile import ImageFile

BASES: Final = ("L", "RGB", "CMYK", "LAB")
"""Modes without alpha that `colour` takes."""

_WITH_ALPHA: Final = {"LA": "L", "RGBA": "RGB"}
_CONVERT: Final = {
    "1": "L",
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
}
_CAMERA_RAW_TAGS: Final = (50706, 33421)
"""DNGVersion and CFARepeatPatternDim: the first page is a thumbnail or a sensor's mosaic."""

_SUBFILE_TYPE: Final = 254
_REDUCED: Final = 1
"""Bit 0 of NewSubfileType: a smaller copy of another page."""

_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262


def split(image: ImageFile, *, deep: bool) -> tuple[Image.Image, Image.Image | None]:
    """Return *image* in one of `BASES`, and its alpha as an ``L`` image, or None.

    Args:
        image: Loaded, of any mode.
        deep: Whether the file holds 16 bits a sample.

    16-bit grey is rounded to 8 bits (32768 -> 128). Pillow gives other 16-bit pictures by their
    high byte, at most one level away.

    Raises:
        UnsupportedImage: Float or 32-bit samples, whose white is not known; camera raw.
    """
    _refuse_raw(image)
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if deep:
        _scale_key(image)
    plain = _expanded(image)
    if plain.mode in _WITH_ALPHA:
        alpha = plain.getchannel("A")
        opaque = alpha.getextrema() == (255, 255)
        return plain.convert(_WITH_ALPHA[plain.mode]), None if opaque else alpha
    if plain.mode not in BASES:
        raise UnsupportedImage(f"{image.format}: samples of mode {image.mode!r} are not read here")
    return plain, None


def _expanded(image: Image.Image) -> Image.Image:
    """Resolve palettes, one transparent colour, bits and premultiplied alpha."""
    keyed = "transparency" in image.info
    if image.mode == "P":
        palette_alpha = image.palette is not None and image.palette.mode == "RGBA"
        return image.convert("RGBA" if keyed or palette_alpha else "RGB")
    if keyed and image.mode in ("1", "L"):
        return image.convert("LA")
    if keyed and image.mode == "RGB":
        return image.convert("RGBA")
    return image.convert(_CONVERT[image.mode]) if image.mode in _CONVERT else image


def _from_16_bits(image: ImageFile) -> tuple[Image.Image, Image.Image | None]:
    white = 2 ** _tag(image, _BITS_PER_SAMPLE, 16) - 1  # 12 bits come unscaled
    levels = np.arange(2**16)
    table = ((np.minimum(levels, white) * 510 + white) // (2 * white)).astype(np.uint8)
    if _tag(image, _PHOTOMETRIC, 1) == 0:  # white is zero, which Pillow does not turn at 16 bits
        table = 255 - table
    values: npt.NDArray[np.uint16] = np.asarray(image, dtype=np.uint16)
    grey = Image.fromarray(np.take(table, values))
    key = image.info.get("transparency")
    if not isinstance(key, int) or not (values == key).any():
        return grey, None
    return grey, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))


def _scale_key(image: ImageFile) -> None:
    """Bring a transparent colour of 16 bits down as Pillow brings the pixels down."""
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _refuse_raw(image: ImageFile) -> None:
    raw = any(_tag(image, tag, 0) for tag in _CAMERA_RAW_TAGS)
    if raw or _tag(image, _SUBFILE_TYPE, 0) & _REDUCED:
        raise UnsupportedImage("TIFF: a camera raw file, or a thumbnail first, is not read here")


def _tag(image: ImageFile, number: int, default: int) -> int:
    """Return the first value of a TIFF tag; *default* where there is none or no TIFF."""
    value: object = getattr(image, "tag_v2", {}).get(number, default)
    first: object = value[0] if isinstance(value, tuple | bytes) and value else value
    return first if isinstance(first, int) else default
