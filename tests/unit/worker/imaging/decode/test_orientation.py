"""EXIF orientation is applied exactly."""

import numpy as np
import pytest
from support.pictures import encoded, exif, plain, quadrants, stored

from worker.imaging.decode import Limits, decode

LIMITS = Limits()
ALL_EIGHT = range(1, 9)
EXACT = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("orientation", ALL_EIGHT)
@pytest.mark.parametrize("image_format", EXACT)
def test_each_orientation_is_applied_exactly(image_format, orientation):
    rotated = stored(quadrants(), orientation)
    data = encoded(rotated, image_format, exif=exif(orientation), **EXACT[image_format])

    image = decode(data, LIMITS).image

    assert np.array_equal(image, quadrants())
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", ALL_EIGHT)
@pytest.mark.parametrize("image_format", ["JPEG", "AVIF", "HEIF"])
def test_each_orientation_is_applied_in_lossy_formats(image_format, orientation):
    if image_format == "HEIF":
        pytest.importorskip("pillow_heif")
    rotated = stored(quadrants(96, 64), orientation)
    data = encoded(rotated, image_format, exif=exif(orientation), quality=95)

    image = decode(data, LIMITS).image

    assert image.shape == (64, 96, 3)
    for y, x in ((16, 24), (16, 72), (48, 24), (48, 72)):
        assert np.abs(image[y, x].astype(int) - quadrants(96, 64)[y, x]).max() <= 8


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_of_a_compressed_tiff_is_applied_once(orientation):
    """Pillow applies it itself when it loads a TIFF."""
    rotated = stored(quadrants(), orientation)
    data = encoded(rotated, "TIFF", exif=exif(orientation), compression="tiff_lzw")

    assert np.array_equal(decode(data, LIMITS).image, quadrants())


@pytest.mark.parametrize("deep", [False, True])
def test_the_orientation_of_a_truncated_tiff_is_applied(deep):
    upright = quadrants()[..., 0].astype(np.uint16) * 257 if deep else quadrants()
    data = encoded(stored(upright, 6), "TIFF", exif=exif(6))

    image = decode(data[: len(data) * 4 // 5], LIMITS, truncated="accept").image

    # The camera stored the left end last.
    expected = np.repeat(quadrants()[..., :1], 3, -1) if deep else quadrants()
    assert np.array_equal(image[:, 12:], expected[:, 12:])
    assert not image[:, :4].any()


def test_the_orientation_is_applied_to_the_alpha():
    alpha = np.zeros((32, 48), np.uint8)
    alpha[:16, :24] = 255
    rotated = stored(np.dstack([quadrants(), alpha]), 6)

    decoded = decode(encoded(rotated, "PNG", exif=exif(6)), LIMITS)

    assert np.array_equal(decoded.alpha, alpha)
    assert np.array_equal(decoded.straight, quadrants())


@pytest.mark.parametrize("value", [0, 9, 60_000])
def test_an_unknown_orientation_means_upright(value):
    data = encoded(quadrants(), "PNG", exif=exif(value))

    assert np.array_equal(decode(data, LIMITS).image, quadrants())


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_damaged_exif_is_noted_and_the_pixels_are_kept(image_format):
    data = encoded(plain((90, 90, 90)), image_format, exif=b"Exif\0\0garbage, no directory")

    decoded = decode(data, LIMITS)

    assert np.abs(decoded.image.astype(int) - 90).max() <= 1
    assert decoded.notes == ("EXIF data damaged; image assumed upright",)
