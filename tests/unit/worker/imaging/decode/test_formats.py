"""Every variant of every format decodes to the expected pixels."""

import io

import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    as_image,
    encoded,
    photo,
    plain,
    png,
    quadrants,
    tiff,
    ycck_jpeg,
)

from worker.imaging.decode import Limits, decode, needs_isolation, peek

LIMITS = Limits()
GREY_16 = np.array([[0, 128, 129, 32768], [65535, 257, 65278, 65279]], np.uint16)
GREY_16_AS_8 = np.array([[0, 0, 1, 128], [255, 1, 254, 254]], np.uint8)
COLOUR = (200, 100, 50)
INK = (0, 255, 255, 0)
RED = (227, 20, 29)
"""The red of a press without a profile; `test_colour` derives it."""


def grey_as_rgb(levels):
    return np.repeat(np.asarray(levels, np.uint8)[..., None], 3, -1)


def palette_png(**options):
    return encoded(as_image(quadrants()).quantize(4), "PNG", **options)


# name -> (file, expected pixels, greatest difference)
FEATURES = {
    "jpeg-rgb": (encoded(plain(COLOUR), "JPEG", quality=95), plain(COLOUR), 2),
    "jpeg-grey": (encoded(plain(77), "JPEG", quality=95), plain((77, 77, 77)), 1),
    "jpeg-progressive": (
        encoded(plain(COLOUR), "JPEG", quality=95, progressive=True),
        plain(COLOUR),
        2,
    ),
    "jpeg-rgb-stored-as-rgb": (
        encoded(plain(COLOUR), "JPEG", quality=95, keep_rgb=True),
        plain(COLOUR),
        2,
    ),
    "jpeg-cmyk-adobe-inverted": (encoded(plain(INK), "JPEG", "CMYK"), plain(RED), 3),
    "jpeg-ycck": (ycck_jpeg(plain(INK)), plain(RED), 3),
    "png-rgb": (encoded(quadrants(), "PNG"), quadrants(), 0),
    "png-grey": (encoded(plain(77), "PNG"), plain((77, 77, 77)), 0),
    "png-1-bit": (encoded(as_image(plain(255)).convert("1"), "PNG"), plain((255,) * 3), 0),
    "png-palette": (palette_png(), quadrants(), 0),
    "png-palette-2-bits": (palette_png(bits=2), quadrants(), 0),
    "png-interlaced": (png(quadrants(), interlaced=True), quadrants(), 0),
    "png-interlaced-16-bits-grey": (png(GREY_16, interlaced=True), grey_as_rgb(GREY_16_AS_8), 0),
    "png-16-bits-grey": (png(GREY_16), grey_as_rgb(GREY_16_AS_8), 0),
    "png-16-bits-rgb": (
        png(np.full((4, 4, 3), (65535, 32768, 300), np.uint16)),
        plain((255, 128, 1), 4, 4),
        0,
    ),
    "png-grey-opaque-alpha": (png(plain((77, 255))), plain((77,) * 3), 0),
    "webp-lossless": (encoded(quadrants(), "WEBP", lossless=True), quadrants(), 0),
    "webp-lossy": (encoded(plain(COLOUR), "WEBP", quality=95), plain(COLOUR), 3),
    "avif-rgb": (encoded(plain(COLOUR), "AVIF", quality=95), plain(COLOUR), 3),
    "avif-grey": (encoded(plain(77), "AVIF", quality=95), plain((77,) * 3), 2),
    "tiff-rgb": (encoded(quadrants(), "TIFF"), quadrants(), 0),
    "tiff-lzw": (encoded(quadrants(), "TIFF", compression="tiff_lzw"), quadrants(), 0),
    "tiff-deflate": (encoded(quadrants(), "TIFF", compression="tiff_deflate"), quadrants(), 0),
    "tiff-jpeg": (encoded(plain(COLOUR), "TIFF", compression="jpeg"), plain(COLOUR), 3),
    "tiff-fax-1-bit": (
        encoded(as_image(plain(255)).convert("1"), "TIFF", compression="group4"),
        plain((255,) * 3),
        0,
    ),
    "tiff-palette": (encoded(as_image(quadrants()).quantize(4), "TIFF"), quadrants(), 0),
    "tiff-16-bits-grey": (tiff(GREY_16, photometric=1), grey_as_rgb(GREY_16_AS_8), 0),
    "tiff-16-bits-grey-motorola": (
        tiff(GREY_16, photometric=1, order=">"),
        grey_as_rgb(GREY_16_AS_8),
        0,
    ),
    "tiff-16-bits-white-is-zero": (
        tiff(GREY_16, photometric=0),
        grey_as_rgb(255 - GREY_16_AS_8),
        0,
    ),
    "tiff-16-bits-rgb": (
        tiff(np.full((4, 4, 3), (65535, 32768, 300), np.uint16), photometric=2),
        plain((255, 128, 1), 4, 4),
        0,
    ),
    "tiff-cmyk": (encoded(plain(INK), "TIFF", "CMYK"), plain(RED), 1),
    "tiff-cmyk-16-bits": (
        tiff(np.full((4, 4, 4), (0, 65535, 65535, 0), np.uint16), photometric=5),
        plain(RED, 4, 4),
        0,
    ),
    "gif": (encoded(quadrants(), "GIF"), quadrants(), 0),
    "gif-grey": (encoded(plain(77), "GIF"), plain((77,) * 3), 0),
    "bmp-rgb": (encoded(quadrants(), "BMP"), quadrants(), 0),
    "bmp-palette": (encoded(as_image(quadrants()).quantize(4), "BMP"), quadrants(), 0),
    "bmp-1-bit": (encoded(as_image(plain(255)).convert("1"), "BMP"), plain((255,) * 3), 0),
}


@pytest.mark.parametrize(("data", "expected", "within"), FEATURES.values(), ids=FEATURES)
def test_every_variant_decodes_to_its_pixels(data, expected, within):
    decoded = decode(data, LIMITS)

    assert decoded.image.shape == expected.shape
    assert np.abs(decoded.image.astype(int) - expected).max() <= within
    assert decoded.alpha is None
    assert decoded.straight is None


@pytest.mark.parametrize(("data", "expected", "within"), FEATURES.values(), ids=FEATURES)
def test_the_result_is_contiguous_writable_and_8_bit(data, expected, within):
    """Torch warns about other arrays."""
    image = decode(data, LIMITS).image

    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("feature", FEATURES)
def test_the_header_gives_format_and_size_without_decoding(feature):
    data, expected, _ = FEATURES[feature]

    header = peek(data, LIMITS)

    assert (header.height, header.width) == expected.shape[:2]
    assert header.format == feature.partition("-")[0].upper()


def test_heic_is_decoded_if_pillow_heif_is_installed():
    pytest.importorskip("pillow_heif")
    data = encoded(plain(COLOUR, 128, 64), "HEIF", quality=95)

    decoded = decode(data, LIMITS)

    assert peek(data, LIMITS) == (128, 64, "HEIF")
    assert decoded.image.shape == (64, 128, 3)
    assert np.abs(decoded.image.astype(int) - COLOUR).max() <= 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"quality": 30},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (160, 120)], ids=str)
def test_the_fast_path_gives_pillows_pixels(options, size):
    """A mask must not depend on the path taken."""
    data = encoded(photo(*size), "JPEG", **options)

    fast = decode(data, LIMITS)

    with Image.open(io.BytesIO(data)) as slow:
        assert np.array_equal(fast.image, np.array(slow))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (20_000, 10)], ids=str)
def test_the_smallest_and_the_thinnest_images_decode(image_format, size):
    if image_format == "WEBP" and max(size) > 16_383:
        pytest.skip("WebP has no images of this size")
    data = encoded(plain(COLOUR, *size), image_format)

    image = decode(data, LIMITS).image

    assert image.shape == (size[1], size[0], 3)
    assert np.abs(image.astype(int) - COLOUR).max() <= 10


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "AVIF", "PNG"])
def test_the_first_of_several_frames_is_used_and_noted(image_format):
    first, second = as_image(plain((200, 0, 0))), as_image(plain((0, 0, 200)))
    data = encoded(first, image_format, save_all=True, append_images=[second])

    decoded = decode(data, LIMITS)

    assert decoded.image[8, 8, 0] > 150
    assert decoded.notes == ("the file holds several frames or pages; the first is used",)


def test_the_first_image_of_an_mpo_file_is_used_and_noted():
    first, second = as_image(plain((200, 0, 0))), as_image(plain((0, 0, 200)))
    data = encoded(first, "MPO", save_all=True, append_images=[second])

    decoded = decode(data, LIMITS)

    assert decoded.image[8, 8, 0] > 150
    assert decoded.notes == ("the file holds several frames or pages; the first is used",)


def test_decoding_twice_gives_the_same_pixels():
    data = encoded(photo(), "WEBP")

    assert np.array_equal(decode(data, LIMITS).image, decode(data, LIMITS).image)


def test_only_jpeg_and_png_are_decoded_in_threads():
    formats = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"]

    assert [needs_isolation(one) for one in formats] == [False, False] + [True] * 6
