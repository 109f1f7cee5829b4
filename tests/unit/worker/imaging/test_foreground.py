"""Estimated foreground colours, compared with images whose layers are known."""

import itertools

import numpy as np
import pytest
from pymatting import estimate_foreground_ml
from support.layers import Layered, layered_images

from worker.imaging.foreground import foreground
from worker.imaging.layers import CLEAR, SOLID

WHITE, BLACK, GREEN = (255, 255, 255), (0, 0, 0), (0, 255, 0)
# numba, a dependency of pymatting, warns about the typing of recent numpy versions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def images() -> list[Layered]:
    return list(layered_images())


def test_an_image_without_soft_pixels_keeps_its_colours(rng):
    image = rng.integers(0, 256, (70, 90, 3), np.uint8)
    mask = rng.choice(np.array([0, 255], np.uint8), (70, 90))

    assert np.array_equal(foreground(image, mask), image)


def test_hard_pixels_keep_their_colours_and_the_source_is_not_changed(images):
    sample = images[0]
    before = sample.image.copy()

    colours = foreground(sample.image, sample.alpha)

    hard = (sample.alpha <= CLEAR) | (sample.alpha >= SOLID)
    assert np.array_equal(colours[hard], sample.image[hard])
    assert (colours[~hard] != sample.image[~hard]).any()
    assert np.array_equal(sample.image, before)


def test_uniform_layers_are_recovered_to_within_rounding():
    """Colour (200, 100, 50) on white, under a ramp of alpha, has only one solution."""
    alpha = np.tile(np.clip(np.arange(60) * 9 - 130, 0, 255).astype(np.uint8), (40, 1))
    share = alpha[..., None] / 255
    image = np.rint(share * [200, 100, 50] + (1 - share) * 255).astype(np.uint8)

    colours = foreground(image, alpha)

    seen = alpha > 3 * CLEAR
    error = np.abs(colours[seen].astype(float) - [200, 100, 50]) * share[seen]
    assert error.max() < 3.0


def test_the_size_of_tiles_changes_no_pixel(images):
    """A tile is padded by the greatest distance at which pixels affect each other."""
    for sample in images[::5]:
        results = [
            foreground(sample.image, sample.alpha, band_px=band_px) for band_px in (7, 128, 10_000)
        ]

        assert all(np.array_equal(a, b) for a, b in itertools.pairwise(results))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 5), (130, 2)])
def test_the_smallest_images_are_estimated(shape, rng):
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.integers(0, 256, shape, np.uint8)

    assert foreground(image, mask).shape == image.shape


def test_a_uniform_image_under_a_fully_soft_mask_keeps_its_colour(rng):
    """Without any hard pixel, there are only the source's colours."""
    flat = np.full((64, 64, 3), 90, np.uint8)

    assert np.array_equal(foreground(flat, np.full((64, 64), 77, np.uint8)), flat)


def test_a_single_soft_pixel_far_from_any_subject_nearly_keeps_its_colour(rng):
    """The wide passes skip it, so that its foreground average contains only itself.

    In each of 3 passes a 64th of the residue moves into the foreground.
    """
    image = rng.integers(0, 256, (90, 90, 3), np.uint8)
    mask = np.zeros((90, 90), np.uint8)
    mask[42, 43] = 4

    found = foreground(image, mask)[42, 43].astype(int)

    assert np.abs(found - image[42, 43]).max() <= 12


@pytest.mark.parametrize("background", [WHITE, BLACK, GREEN])
def test_the_edge_error_is_at_most_half_of_that_of_source_colours(images, background):
    for sample in images:
        plain = sample.edge_error(sample.image, background)
        estimated = sample.edge_error(foreground(sample.image, sample.alpha), background)

        assert estimated <= plain / 2, sample.name


def test_the_edge_error_is_no_worse_than_multi_level_estimation(images):
    """In the mean over all images, and for none of them visibly (by a level of 255)."""
    ours, reference = [], []
    for sample in images:
        ours.append(sample.edge_error(foreground(sample.image, sample.alpha), WHITE))
        multi_level = estimate_foreground_ml(sample.image / 255, sample.alpha / 255)
        reference.append(sample.edge_error(multi_level * 255, WHITE))

    assert np.mean(ours) <= 1.2 * np.mean(reference)
    assert (np.array(ours) <= 1.2 * np.array(reference) + 1.0).all()
