"""Estimated foreground colours, against pictures whose layers are known."""

import itertools

import numpy as np
import pytest
from pymatting import estimate_foreground_ml
from support.layers import Layered, layered_pictures

from worker.imaging import foreground as edges

WHITE, BLACK, GREEN = (255, 255, 255), (0, 0, 0), (0, 255, 0)
# numba, below pymatting, meets numpy's newest typing with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def pictures() -> list[Layered]:
    return list(layered_pictures())


def test_a_picture_without_soft_pixels_keeps_its_colours(rng):
    image = rng.integers(0, 256, (70, 90, 3), np.uint8)
    mask = rng.choice(np.array([0, 255], np.uint8), (70, 90))

    assert np.array_equal(edges.foreground(image, mask), image)


def test_hard_pixels_keep_their_colours_and_the_source_is_not_changed(pictures):
    picture = pictures[0]
    before = picture.image.copy()

    colours = edges.foreground(picture.image, picture.alpha)

    hard = (picture.alpha <= edges.CLEAR) | (picture.alpha >= edges.SOLID)
    assert np.array_equal(colours[hard], picture.image[hard])
    assert (colours[~hard] != picture.image[~hard]).any()
    assert np.array_equal(picture.image, before)


def test_plain_layers_are_found_to_within_rounding():
    """Colour (200, 100, 50) on white, under a ramp of alpha: nothing is left to guess."""
    alpha = np.tile(np.clip(np.arange(60) * 9 - 130, 0, 255).astype(np.uint8), (40, 1))
    share = alpha[..., None] / 255
    image = np.rint(share * [200, 100, 50] + (1 - share) * 255).astype(np.uint8)

    colours = edges.foreground(image, alpha)

    seen = alpha > 3 * edges.CLEAR
    error = np.abs(colours[seen].astype(float) - [200, 100, 50]) * share[seen]
    assert error.max() < 3.0


def test_where_tiles_begin_changes_no_pixel(pictures, monkeypatch):
    """A tile is padded by all that can reach it, so tiles and the whole picture agree exactly."""
    for picture in pictures[::5]:
        results = []
        for band_px in (7, 128, 10_000):
            monkeypatch.setattr(edges, "BAND_PX", band_px)
            results.append(edges.foreground(picture.image, picture.alpha))

        assert all(np.array_equal(a, b) for a, b in itertools.pairwise(results))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 5), (130, 2)])
def test_the_smallest_pictures_work(shape, rng):
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.integers(0, 256, shape, np.uint8)

    assert edges.foreground(image, mask).shape == image.shape


def test_a_wholly_soft_mask_works(rng):
    """Nobody is sure of anything: the result must still be colours, and the picture's for flat."""
    flat = np.full((64, 64, 3), 90, np.uint8)

    assert np.array_equal(edges.foreground(flat, np.full((64, 64), 77, np.uint8)), flat)


def test_a_lone_soft_pixel_far_from_any_subject_keeps_its_colour(rng):
    """The wide passes do not see it, so nobody votes for a foreground but itself.

    Nearly keeps: of what the background leaves unexplained, a 64th moves in each of 3 passes.
    """
    image = rng.integers(0, 256, (90, 90, 3), np.uint8)
    mask = np.zeros((90, 90), np.uint8)
    mask[42, 43] = 4

    found = edges.foreground(image, mask)[42, 43].astype(int)

    assert np.abs(found - image[42, 43]).max() <= 12


@pytest.mark.parametrize("background", [WHITE, BLACK, GREEN])
def test_the_edge_error_is_at_most_half_of_the_plain_cutouts(pictures, background):
    for picture in pictures:
        plain = picture.edge_error(picture.image, background)
        estimated = picture.edge_error(edges.foreground(picture.image, picture.alpha), background)

        assert estimated <= plain / 2, picture.name


def test_the_edge_error_is_no_worse_than_multi_level_estimation(pictures):
    """Mean over all pictures; alone, none may be visibly worse (a level of 255) either."""
    ours, reference = [], []
    for picture in pictures:
        ours.append(picture.edge_error(edges.foreground(picture.image, picture.alpha), WHITE))
        multi_level = estimate_foreground_ml(picture.image / 255, picture.alpha / 255)
        reference.append(picture.edge_error(multi_level * 255, WHITE))

    assert np.mean(ours) <= 1.2 * np.mean(reference)
    assert (np.array(ours) <= 1.2 * np.array(reference) + 1.0).all()
