"""Find TIFF files that Pillow reads wrongly; have libtiff read them, or refuse them.

`tests/fuzz/compare_decoders.py` compares the result with another reader.
"""

from collections.abc import Iterator
from typing import Any, Final

from PIL import ImagePalette
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from shared.errors import UnsupportedImage

_UNCOMPRESSED: Final = 1
_IN_PLANES: Final = 2
"""Planar configuration: one plane for each channel, instead of whole pixels."""
_SIGNED: Final = 2
_OTHER_INKS: Final = 2
_PREMULTIPLIED: Final = 1
_BITS_OF_TWO_BYTES: Final = 16
_READABLE_IN_PLANES: Final = ("L", "RGB", "RGBA", "CMYK")
"""Of images of other modes Pillow and libtiff read the first plane only."""
_NAMES: Final = {"LA": "grey and alpha", "La": "grey and alpha", "LAB": "Lab", "PA": "palette"}


def tag(image: ImageFile, number: int, default: int) -> int:
    """Return the first value of a TIFF tag, or *default* if the image has no such tag."""
    first = next(iter(values(image, number)), default)
    return first if isinstance(first, int) else default


def prepare(image: ImageFile) -> None:
    """Make Pillow load the right pixels of *image*, an opened TIFF.

    Raises:
        UnsupportedImage: If the pixels would be wrong; the text names the kind of file.
    """
    for kind in _unreadable(image):
        raise UnsupportedImage(f"TIFF: {kind} are not supported; save the image in another way")
    if image.mode == "P":
        _correct_palette(image)
    if tag(image, Tag.Compression, 1) == _UNCOMPRESSED and _is_in_planes(image):
        _load_planes(image)


def _unreadable(image: ImageFile) -> Iterator[str]:
    """Yield what neither Pillow nor libtiff reads correctly."""
    if _SIGNED in values(image, Tag.SampleFormat):
        yield "signed samples"
    if image.mode == "CMYK" and tag(image, Tag.InkSet, 1) == _OTHER_INKS:
        yield "inks other than cyan, magenta, yellow and black"
    if _is_in_planes(image):
        if image.mode not in _READABLE_IN_PLANES:
            yield f"{_NAMES.get(image.mode, image.mode)} samples in separate planes"
        extra = values(image, Tag.ExtraSamples)
        if len(extra) > 1 and any(extra):
            yield "alpha and further channels in separate planes"
    # Without the tag, chroma has half the width and height.
    if image.mode == "YCbCr" and values(image, Tag.YCbCrSubSampling) != (1, 1):
        yield "uncompressed YCbCr samples with reduced chroma"


def _is_in_planes(image: ImageFile) -> bool:
    is_split = tag(image, Tag.PlanarConfiguration, 1) == _IN_PLANES
    return is_split and tag(image, Tag.SamplesPerPixel, 1) > 1


def _correct_palette(image: ImageFile) -> None:
    """Read a palette of 8-bit levels, which some programs write in place of 16-bit levels."""
    levels = values(image, Tag.ColorMap)
    if levels and max(levels) < 1 << 8:
        image.palette = ImagePalette.raw("RGB;L", bytes(levels))


def _load_planes(image: Any) -> None:  # noqa: ANN401 - attributes of Pillow's TIFF plug-in
    """Have libtiff load uncompressed planes, unless Pillow's own decoder reads them correctly.

    That one reads 8 bits without premultiplied alpha. It can also read a truncated file.
    """
    is_deep = tag(image, Tag.BitsPerSample, 1) == _BITS_OF_TWO_BYTES
    is_premultiplied = tag(image, Tag.ExtraSamples, 0) == _PREMULTIPLIED
    if not is_deep and not is_premultiplied:
        return
    raw_mode = "RGBa" if is_premultiplied else image.mode
    size = tag(image, Tag.ImageWidth, 0), tag(image, Tag.ImageLength, 0)
    whole = image.tile[0]._replace(
        codec_name="libtiff",
        extents=(0, 0, *size),
        offset=0,
        args=(f"{raw_mode};16N" if is_deep else raw_mode, False, image.tag_v2.offset),
    )
    image.tile = [whole]
    image.use_load_libtiff = True


def values(image: ImageFile, number: int) -> tuple[Any, ...]:
    """Return all values of a TIFF tag; none if the image has no such tag."""
    value: object = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)
