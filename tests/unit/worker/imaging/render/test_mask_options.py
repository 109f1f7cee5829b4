"""Options that change a mask before the subject is found."""

import cv2
import numpy as np
import pytest

from shared.recipes import build_recipe
from worker.imaging.render.mask_options import region_of, with_options


def changed(mask, **fields):
    recipe = build_recipe({"solid": False, **fields}, origin="test")
    return with_options(mask, recipe, region_of(recipe.roi, mask.shape))


def square(side=100, low=30, high=70):
    mask = np.zeros((side, side), np.uint8)
    mask[low:high, low:high] = 255
    return mask


def test_without_options_nothing_changes():
    mask = np.random.default_rng(1).integers(0, 256, (30, 40), np.uint8)

    assert np.array_equal(changed(mask), mask)


@pytest.mark.parametrize("offset_px", [1, 2, 5, 20, -1, -2, -5, -15])
def test_an_offset_moves_all_edges_by_as_many_pixels(offset_px):
    mask = changed(square(), offset_px=offset_px)

    rows, columns = np.nonzero(mask)
    expected = 30 - offset_px, 70 + offset_px
    assert (rows.min(), rows.max() + 1) == expected
    assert (columns.min(), columns.max() + 1) == expected


def test_an_offset_is_about_as_wide_on_diagonals():
    point = np.zeros((101, 101), np.uint8)
    point[50, 50] = 255

    y, x = np.nonzero(changed(point, offset_px=30))

    distance = np.hypot(x - 50, y - 50)
    assert distance.max() <= 30 * 1.1
    assert len(distance) == pytest.approx(np.pi * 30**2, rel=0.1)


def test_an_offset_neither_grows_nor_shrinks_at_the_edge_of_the_image():
    mask = np.full((20, 20), 255, np.uint8)

    assert (changed(mask, offset_px=-5) == 255).all()


def test_a_blur_has_the_width_of_its_deviation():
    step = np.zeros((20, 200), np.uint8)
    step[:, 100:] = 255

    for blur_px in (1, 3, 12, 30):
        profile = changed(step, blur_px=blur_px)[10].astype(float) / 255
        at = int(np.argmin(np.abs(profile - 0.1587)))  # one deviation before the middle
        assert 100 - at == pytest.approx(blur_px, rel=0.15, abs=1)


def test_a_threshold_leaves_nothing_soft():
    ramp = np.arange(256, dtype=np.uint8)[None]

    assert changed(ramp, threshold=100)[0].tolist() == [0] * 100 + [255] * 156


def test_an_inverted_mask_is_the_background():
    ramp = np.arange(256, dtype=np.uint8)[None]

    assert changed(ramp, invert=True)[0].tolist() == list(range(255, -1, -1))


def ring(hole_px):
    mask = square(100, 10, 90)
    mask[50 : 50 + hole_px, 50 : 50 + hole_px] = 0
    return mask


def test_holes_up_to_a_share_of_the_subject_are_filled():
    mask = ring(8)
    mask[20:40, 20:40] = 0  # too large: 400 of 6,000 pixels
    mask[49, 50:58] = 120  # the soft rim of the small one

    filled = changed(mask, fill_holes=0.02)

    assert (filled[45:60, 45:60] == 255).all()
    assert not filled[20:40, 20:40].any()
    assert (changed(mask, fill_holes=True)[10:90, 10:90] == 255).all()


def test_openings_to_the_edge_of_the_image_are_no_holes():
    mask = square(50, 0, 50)
    mask[:10, 20:30] = 0

    assert np.array_equal(changed(mask, fill_holes=True), mask)


def test_a_hole_behind_a_diagonal_line_is_enclosed():
    distance = np.abs(np.indices((40, 40)) - 20).sum(0)
    diamond = np.where(distance == 10, np.uint8(255), np.uint8(0))

    assert np.array_equal(changed(diamond, fill_holes=True) == 255, distance <= 10)


def test_specks_up_to_a_share_of_the_largest_part_are_removed():
    mask = square()
    mask[5:9, 5:9] = 200  # 1 % of the largest part
    mask[85:95, 85:95] = 255  # 6 %

    cleaned = changed(mask, remove_specks=True)

    assert not cleaned[5:9, 5:9].any()
    assert (cleaned[85:95, 85:95] == 255).all()
    assert not changed(mask, remove_specks=0.1)[85:95, 85:95].any()
    assert (changed(mask, remove_specks=1.0)[30:70, 30:70] == 255).all()


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_specks_are_parts_of_touching_pixels_however_many_there_are(share):
    noise = np.random.default_rng(4).choice(np.array([0, 10, 11, 255], np.uint8), (200, 300))
    noise[cv2.GaussianBlur(noise, (0, 0), 2) < 70] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats((noise > 10).astype(np.uint8))
    areas_px = stats[:, cv2.CC_STAT_AREA]
    is_speck = (areas_px <= share * areas_px[1:].max()) & (areas_px < areas_px[1:].max())
    is_speck[0] = False

    cleaned = changed(noise, remove_specks=share)

    assert is_speck.sum() > 50
    assert np.array_equal(cleaned, np.where(is_speck[labels], 0, noise))


def test_solid_runs_last():
    ramp = np.arange(256, dtype=np.uint8)[None]

    assert changed(ramp, solid=True)[0].tolist() == [0] * 4 + list(range(4, 252)) + [255] * 4
    assert changed(ramp, solid=True, invert=True)[0, 0] == 255


def test_outside_of_the_region_nothing_belongs_to_the_subject_even_when_inverted():
    mask = changed(np.zeros((20, 40), np.uint8), roi="25% 5px 75% 100%", invert=True)

    expected = np.zeros((20, 40), np.uint8)
    expected[5:, 10:30] = 255
    assert np.array_equal(mask, expected)


def test_the_given_mask_is_not_changed():
    mask = square()
    before = mask.copy()

    changed(mask, offset_px=2, blur_px=2, fill_holes=True, remove_specks=True, roi="0 0 50% 50%")

    assert np.array_equal(mask, before)
