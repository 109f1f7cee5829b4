"""Separate samples of any Pillow mode into 8-bit colours and an alpha, and flatten the two."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageStat
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from shared.errors import UnsupportedImage
from worker.imaging.decode.tiff import tag

BASES: Final = ("L", "RGB", "CMYK", "LAB")
"""Modes without alpha that `colour` accepts."""

FLATTENED: Final = "has alpha; flattened"
"""How the note about the background of the network's input begins."""
_WITH_ALPHA: Final = {"LA": "L", "RGBA": "RGB"}
_CONVERT: Final = {
    "1": "L",
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
}
_BRIGHT: Final = 192
_VISIBLE: Final = 128


def split(image: ImageFile) -> tuple[Image.Image, Image.Image | None]:
    """Return *image*, loaded, in one of the modes `BASES`, and its alpha as an ``L`` image or None.

    16-bit grey is rounded to 8 bits (32768 -> 128). For other 16-bit images Pillow returns the
    high byte, which differs by at most one level.

    Raises:
        UnsupportedImage: Float or 32-bit samples, whose white level is unknown; camera raw.
    """
    # Of camera raw files the first page is a thumbnail or raw sensor data.
    is_raw = tag(image, Tag.DNGVersion, 0) or tag(image, Tag.CFARepeatPatternDim, 0)
    if is_raw or tag(image, Tag.NewSubfileType, 0) & 1:  # a reduced copy of another page
        raise UnsupportedImage(
            "TIFF: camera raw files, and files whose first page is a thumbnail, are not supported"
        )
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    plain = _expanded(image)
    if plain.mode in _WITH_ALPHA:
        alpha = plain.getchannel("A")
        opaque = alpha.getextrema() == (255, 255)
        return plain.convert(_WITH_ALPHA[plain.mode]), None if opaque else alpha
    if plain.mode not in BASES:
        kind = {"I": "32-bit", "F": "floating-point"}.get(plain.mode, plain.mode)
        raise UnsupportedImage(
            f"{image.format}: {kind} samples are not supported; save the image with 8 or 16 bits"
        )
    return plain, None


def flatten(rgb: Image.Image, alpha: Image.Image) -> tuple[Image.Image, str]:
    """Paste *rgb* through *alpha* onto a plain background; return it and a note naming the colour.

    The network takes RGB only. The background is white, as in most product photos, or mid grey
    where the visible part (alpha of at least 128) is bright itself (mean above 192 of 255) and
    would not stand out against white. Colours under alpha 0 are arbitrary and never reach the
    network.
    """
    is_visible = alpha.point([0] * _VISIBLE + [255] * (256 - _VISIBLE))
    luma = ImageStat.Stat(rgb.convert("L"), is_visible)
    colour = "grey" if luma.sum[0] > _BRIGHT * luma.count[0] else "white"
    background = Image.new("RGB", rgb.size, colour)
    background.paste(rgb, mask=alpha)
    return background, f"{FLATTENED} on {colour}"


def _expanded(image: Image.Image) -> Image.Image:
    """Resolve palettes, single transparent colours, 1-bit samples and premultiplied alpha."""
    has_transparency = "transparency" in image.info
    if image.mode == "P":
        palette_alpha = image.palette is not None and image.palette.mode == "RGBA"
        return image.convert("RGBA" if has_transparency or palette_alpha else "RGB")
    if has_transparency and image.mode in ("1", "L"):
        return image.convert("LA")
    if has_transparency and image.mode == "RGB":
        return image.convert("RGBA")
    return image.convert(_CONVERT[image.mode]) if image.mode in _CONVERT else image


def _from_16_bit(image: ImageFile) -> tuple[Image.Image, Image.Image | None]:
    white = 2 ** tag(image, Tag.BitsPerSample, 16) - 1  # Pillow does not scale 12-bit samples
    levels = np.arange(2**16)
    table = ((np.minimum(levels, white) * 510 + white) // (2 * white)).astype(np.uint8)
    if (
        tag(image, Tag.PhotometricInterpretation, 1) == 0
    ):  # white is zero; Pillow does not invert 16 bits
        table = 255 - table
    values: npt.NDArray[np.uint16] = np.asarray(image, dtype=np.uint16)
    grey = Image.fromarray(np.take(table, values))
    key = image.info.get("transparency")
    if not isinstance(key, int) or not (values == key).any():
        return grey, None
    return grey, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
