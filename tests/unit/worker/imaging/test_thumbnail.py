"""Thumbnails for the report."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.errors import UndecodableImage
from worker.imaging.thumbnail import SIDE_PX, thumbnail

ROTATED = 6
ORIENTATION = 0x0112


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def halves(width=1200, height=800):
    """Return an image that is red on the left and blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_thumbnail_is_upright_in_every_format(kind):
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED

    small = opened(thumbnail(saved(halves(), kind, exif=exif)))

    assert small.size == (171, 256)
    red, _, blue = small.getpixel((100, 20))
    assert red > 200
    assert blue < 50


def test_the_longer_side_is_limited_and_small_images_keep_their_size():
    big = opened(thumbnail(saved(halves(3001, 1000), "JPEG")))
    tiny = opened(thumbnail(saved(halves(60, 40), "PNG")))

    assert max(big.size) == SIDE_PX
    assert tiny.size == (60, 40)


def test_cleared_pixels_do_not_darken_the_edge():
    pixels = np.zeros((2600, 2600, 4), np.uint8)
    pixels[:, 333:] = 255

    small = np.array(opened(thumbnail(saved(Image.fromarray(pixels), "PNG"))))

    assert small.shape == (256, 256, 4)
    assert small[..., 3].min() == 0
    assert small[small[..., 3] > 100][:, :3].min() > 230


def test_a_file_that_is_not_an_image_is_rejected():
    with pytest.raises(UndecodableImage, match="cannot make a thumbnail"):
        thumbnail(b"<html>")
