"""Foreground colours of outputs."""

import cv2
import numpy as np
import pytest
from support.layers import layered_images

from worker.imaging.foreground import foreground
from worker.imaging.layers import CLEAR, SOLID
from worker.imaging.render import edge_colours
from worker.imaging.render.colours import REACH_PX, _limited


def test_only_soft_pixels_near_solid_ones_differ_from_the_estimate():
    for sample in list(layered_images())[::5]:
        before = sample.image.copy()

        colours = edge_colours(sample.image, sample.alpha)

        differs = (colours != foreground(sample.image, sample.alpha)).any(-1)
        square = np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8)
        near = cv2.dilate((sample.alpha >= SOLID).astype(np.uint8), square) > 0
        soft = (sample.alpha > CLEAR) & (sample.alpha < SOLID)
        assert differs.any()
        assert not differs[~(near & soft)].any()
        assert np.array_equal(sample.image, before)


def test_tiles_give_the_same_as_the_whole_image():
    sample = list(layered_images())[7]

    whole = _limited(foreground(sample.image, sample.alpha), sample.image, sample.alpha)

    assert np.array_equal(edge_colours(sample.image, sample.alpha), whole)


def test_the_limits_lower_the_error_of_the_estimate():
    """Also where the layers are mixed as the estimate assumes, in sRGB."""
    errors = [
        (
            sample.edge_error(edge_colours(sample.image, sample.alpha), (255, 255, 255)),
            sample.edge_error(foreground(sample.image, sample.alpha), (255, 255, 255)),
        )
        for sample in layered_images()
    ]

    limited, plain = np.mean(errors, axis=0)
    assert limited <= 0.9 * plain


def test_a_soft_pixel_stays_in_the_range_of_the_solid_pixels_around_it():
    image = np.full((150, 150, 3), 240, np.uint8)
    image[:, :70] = (10, 60, 200)
    mask = np.zeros((150, 150), np.uint8)
    mask[:, :70] = 255
    mask[:, 70:73] = 100  # much too opaque for its colour, that of the background

    colours = edge_colours(image, mask)

    assert (colours[:, 70:73] == (10, 60, 200)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 80), (80, 1), (65, 129)])
@pytest.mark.parametrize("level", [0, 100, 255])
def test_any_size_and_uniform_masks_are_accepted(shape, level):
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)

    assert edge_colours(image, np.full(shape, level, np.uint8)).shape == image.shape
