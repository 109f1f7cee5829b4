"""Cutouts: straight alpha, cleared background, and on request the pixels of the node."""

import numpy as np
import pytest
from PIL import Image

from worker.imaging.compose import combine, compose, solid

ALL_EDGES = ["source", "seed", "estimate"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pasted(image, mask):
    """Return *image*, pasted by Pillow through *mask* onto transparent black."""
    cutout = Image.new("RGBA", image.shape[1::-1])
    cutout.paste(Image.fromarray(image), mask=Image.fromarray(mask))
    return np.array(cutout)


def test_soft_pixels_keep_the_colour_of_the_source():
    """The node stores (100, 50, 25) here, a dark edge on every background except black."""
    cutout = compose(np.full((1, 1, 3), (200, 100, 50), np.uint8), np.full((1, 1), 128, np.uint8))

    assert cutout[0, 0].tolist() == [200, 100, 50, 128]


def test_seed_edges_are_as_dark_as_those_of_the_node():
    image = np.full((1, 1, 3), (200, 100, 50), np.uint8)

    cutout = compose(image, np.full((1, 1), 128, np.uint8), edges="seed")

    assert cutout[0, 0].tolist() == [100, 50, 25, 128]


def test_seed_edges_equal_pillows_paste_for_every_colour_and_mask_value():
    colours, mask = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = np.dstack([colours, 255 - colours, colours[:, ::-1] // 2])

    assert np.array_equal(compose(image, mask, edges="seed"), pasted(image, mask))


@pytest.mark.parametrize("shape", [(1, 1), (3, 517), (517, 3), (300, 299)])
def test_seed_edges_equal_pillows_paste_for_any_size(shape, rng):
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.integers(0, 256, shape, np.uint8)

    assert np.array_equal(compose(image, mask, edges="seed"), pasted(image, mask))


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_pixels_under_alpha_0_are_cleared(edges, rng):
    image = rng.integers(1, 256, (600, 40, 3), np.uint8)
    mask = rng.choice(np.array([0, 1, 128, 255], np.uint8), (600, 40))

    cutout = compose(image, mask, edges=edges)

    assert not cutout[mask == 0].any()


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_the_mask_is_the_alpha_and_opaque_pixels_are_those_of_the_source(edges, rng):
    image = rng.integers(0, 256, (300, 41, 3), np.uint8)
    mask = rng.choice(np.array([0, 1, 128, 255], np.uint8), (300, 41))
    before = image.copy(), mask.copy()

    cutout = compose(image, mask, edges=edges)

    assert cutout.dtype == np.uint8
    assert np.array_equal(cutout[..., 3], mask)
    assert np.array_equal(cutout[mask == 255][:, :3], image[mask == 255])
    assert np.array_equal(image, before[0])
    assert np.array_equal(mask, before[1])


def test_estimated_edges_do_not_show_the_old_background():
    """The edge of a red disc photographed on white must not be bright on black."""
    y, x = np.mgrid[:80, :80]
    alpha = np.clip((25 - np.hypot(x - 40, y - 40)) / 4 + 0.5, 0, 1)
    image = np.rint(alpha[..., None] * [180, 20, 20] + (1 - alpha[..., None]) * 255)
    mask = np.rint(alpha * 255).astype(np.uint8)

    cutout = compose(image.astype(np.uint8), mask, edges="estimate")

    half = (mask > 64) & (mask < 192)
    assert np.abs(cutout[half][:, :3].astype(int) - [180, 20, 20]).max() <= 6


def test_combine_multiplies_and_rounds_every_pair_of_values():
    mask, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))

    product = combine(mask, alpha)

    assert product.dtype == np.uint8
    assert np.array_equal(product, np.floor(mask.astype(int) * alpha / 255 + 0.5))


def test_only_values_near_the_ends_become_solid():
    """Hair, and every other soft edge, has values between."""
    values = np.arange(256, dtype=np.uint8)[None]

    made = solid(values)[0].tolist()

    assert made == [0] * 4 + list(range(4, 252)) + [255] * 4


def test_a_solid_mask_leaves_the_estimated_colours_as_they_are():
    image = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    mask = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))

    soft, made = (compose(image, each, edges="estimate") for each in (mask, solid(mask)))

    shown = (mask > 3) & (mask < 252)
    assert np.array_equal(soft[shown], made[shown])
