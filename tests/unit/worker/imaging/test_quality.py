"""Quality figures of synthetic masks, and the verdicts on them."""

import json
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from shared.job.thresholds import Thresholds
from worker.imaging.quality import Figures, measure
from worker.imaging.verdict import judge

GOOD = Figures(
    coverage=0.3,
    box=(10, 20, 300, 400),
    touches=("bottom",),
    soft=0.02,
    parts=1,
    holes=0,
    solid_px=140_000,
    uncertainty=0.07,
    low=0.0,
    high=0.9999,
)


def blank(height=600, width=800):
    return np.zeros((height, width), np.uint8)


def with_rectangle(left, top, right, bottom, *, value=255, mask=None):
    mask = blank() if mask is None else mask
    mask[top:bottom, left:right] = value
    return mask


def test_a_rectangle_is_measured_exactly():
    figures = measure(with_rectangle(100, 50, 300, 450))

    assert figures.box == (100, 50, 200, 400)
    assert figures.coverage == pytest.approx(200 * 400 / (600 * 800), rel=0.01)
    assert (figures.parts, figures.holes, figures.touches) == (1, 0, ())
    assert figures.soft == figures.uncertainty == 0


def test_the_box_is_exact_for_sizes_that_are_no_power_of_two():
    mask = blank(1999, 1501)
    mask[777:1998, 3:1500] = 255

    assert measure(mask).box == (3, 777, 1497, 1221)


def test_an_empty_mask_has_no_box():
    figures = measure(blank())

    assert (figures.box, figures.coverage, figures.parts, figures.uncertainty) == (None, 0, 0, 0)


def test_haze_and_specks_do_not_widen_the_box():
    """Mask values up to 10 of 255 are haze, and single pixels are specks."""
    mask = np.full((600, 800), 10, np.uint8)
    with_rectangle(200, 100, 400, 300, mask=mask)
    mask[590, 790] = mask[2, 5] = 255

    assert measure(mask).box == (200, 100, 200, 200)


def test_a_single_pixel_of_a_very_large_mask_does_not_widen_the_box():
    mask = blank(9000, 300)
    mask[4000:6000, 100:200] = 255
    mask[8990, 5] = 255

    assert measure(mask).box == (100, 4000, 100, 2000)


def test_mask_values_from_11_belong_to_the_subject():
    assert measure(with_rectangle(9, 8, 309, 208, value=11)).box == (
        9,
        8,
        300,
        200,
    )


@pytest.mark.parametrize(
    ("rectangle", "touched"),
    [
        ((0, 100, 200, 300), ("left",)),
        ((100, 0, 200, 300), ("top",)),
        ((700, 100, 800, 300), ("right",)),
        ((100, 400, 200, 600), ("bottom",)),
        ((0, 0, 800, 600), ("left", "top", "right", "bottom")),
        ((1, 1, 799, 599), ()),
        ((0, 100, 200, 103), ()),
    ],
)
def test_an_edge_is_touched_where_it_cuts_the_subject(rectangle, touched):
    assert measure(with_rectangle(*rectangle)).touches == touched


def test_a_single_pixel_does_not_touch_an_edge():
    mask = blank(60, 60)
    mask[30, 0] = 255

    assert measure(mask).touches == ()


def test_parts_and_holes_are_counted_without_specks():
    mask = with_rectangle(50, 50, 350, 350)
    with_rectangle(150, 150, 250, 250, value=0, mask=mask)  # a hole
    with_rectangle(300, 300, 303, 303, value=0, mask=mask)  # a speck-sized hole
    with_rectangle(450, 50, 700, 350, mask=mask)
    with_rectangle(500, 0, 600, 200, value=0, mask=mask)  # a notch, open to the border
    with_rectangle(500, 500, 508, 508, mask=mask)  # a speck

    figures = measure(mask)

    assert (figures.parts, figures.holes) == (2, 1)


def test_a_hole_filled_with_haze_is_a_hole():
    """Pixels are inside from 128 on, so that a partly filled hole is still open."""
    mask = with_rectangle(50, 50, 350, 350)

    assert measure(with_rectangle(150, 150, 250, 250, value=100, mask=mask)).holes == 1


def test_a_ring_one_cell_wide_encloses_a_hole():
    mask = blank(200, 200)
    cv2.circle(mask, (100, 100), 60, 255, 1)

    assert measure(mask).holes == 1


def test_uncertainty_is_1_at_one_half_and_0_at_255():
    assert measure(with_rectangle(50, 50, 350, 350, value=128)).uncertainty == pytest.approx(
        1, abs=1e-4
    )
    assert measure(with_rectangle(50, 50, 350, 350, value=255)).uncertainty == 0
    assert 0.1 < measure(with_rectangle(50, 50, 350, 350, value=245)).uncertainty < 0.3


def test_the_soft_share_refers_to_the_whole_image():
    figures = measure(with_rectangle(0, 0, 80, 600, value=128))

    assert figures.soft == pytest.approx(0.1)


def test_large_masks_give_the_figures_of_small_ones():
    """Large masks are measured on fewer pixels, which must not show."""
    small = with_rectangle(101, 100, 299, 350)
    with_rectangle(150, 150, 250, 250, value=60, mask=small)
    large = small.repeat(5, 0).repeat(5, 1)

    for name, value in asdict(measure(small)).items():
        scales = {"box": lambda box: tuple(5 * v for v in box), "solid_px": lambda px: 25 * px}
        scaled = scales.get(name, lambda same: same)(value)
        assert asdict(measure(large))[name] == pytest.approx(scaled, abs=2e-3), name


def test_the_smallest_masks_are_measured():
    assert measure(np.full((1, 1), 255, np.uint8)).box == (0, 0, 1, 1)
    assert measure(np.zeros((1, 9), np.uint8)).box is None


def test_figures_are_under_300_bytes_of_json():
    figures = replace(GOOD, coverage=1 / 3, box=(12345, 12345, 12345, 12345), parts=10**6)
    figures = replace(figures, touches=("left", "top", "right", "bottom"), low=1e-9, holes=10**6)

    document = json.dumps(figures.to_json())

    assert len(document) < 300
    assert json.loads(document)["box"] == [12345] * 4
    assert json.loads(json.dumps(measure(blank()).to_json()))["box"] is None


def test_a_good_mask_is_ok_without_reasons():
    assert (judge(GOOD).verdict, judge(GOOD).reasons) == ("ok", ())


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"coverage": 0.0005, "solid_px": 63}, "reject", "coverage 0.0005 below 0.001"),
        ({"coverage": 0.0005, "solid_px": 64}, "review", "coverage 0.0005 below 0.01"),
        ({"coverage": 0.999}, "reject", "coverage 0.999 above 0.995"),
        ({"high": 0.01}, "reject", "high 0.01 below 0.5"),
        ({"coverage": 0.005}, "review", "coverage 0.005 below 0.01"),
        ({"coverage": 0.95}, "review", "coverage 0.95 above 0.9"),
        ({"high": 0.7}, "review", "high 0.7 below 0.9"),
        ({"touches": ("left", "top", "right")}, "review", "touches 3 above 2"),
        ({"soft": 0.22}, "review", "soft 0.22 above 0.15"),
        ({"uncertainty": 0.5}, "review", "uncertainty 0.5 above 0.3"),
        ({"parts": 24}, "review", "parts 24 above 4"),
        ({"parts": 0, "solid_px": 0}, "review", "no part of the subject is solid"),
        ({"parts": 0}, "review", "no part of the subject is large"),
        ({"holes": 26}, "review", "holes 26 above 12"),
    ],
)
def test_a_figure_beyond_its_limit_is_a_reason(change, verdict, reason):
    found = judge(replace(GOOD, **change))

    assert (found.verdict, found.reasons) == (verdict, (reason,))


@pytest.mark.parametrize("side_px", [8, 20, 40, 80, 120])
def test_a_small_subject_is_reviewed_and_never_rejected(side_px):
    """Its size is not a fault of the cutout."""
    mask = blank(2000, 3000)
    mask[901 : 901 + side_px, 1403 : 1403 + side_px] = 255

    found = judge(measure(mask))

    assert found.verdict == "review"
    assert "below 0.01" in found.reasons[0]


@pytest.mark.parametrize("level", [0, 30, 127])
def test_an_image_of_which_nothing_solid_is_left_is_rejected(level):
    mask = blank(2000, 3000)
    mask[901:921, 1403:1423] = level

    assert judge(measure(mask)).verdict == "reject"


def test_a_limit_for_rejection_reviews_a_small_subject_where_no_limit_for_review_does():
    limits = Thresholds(reject_coverage_below=0.2, review_coverage_below=0)
    found = judge(replace(GOOD, coverage=0.1), limits)

    assert (found.verdict, found.reasons) == ("review", ("coverage 0.1 below 0.2",))


def test_reject_takes_precedence_over_review_and_names_only_its_reasons():
    found = judge(replace(GOOD, coverage=0.0, parts=0, solid_px=0, uncertainty=0.9, high=0.1))

    assert found.verdict == "reject"
    assert len(found.reasons) == 2


def test_a_figure_at_its_limit_is_ok():
    limits = Thresholds()
    at = replace(GOOD, coverage=limits.review_coverage_above, high=limits.review_high_below)

    assert judge(at).verdict == "ok"


def test_thresholds_can_be_configured():
    strict = Thresholds(review_uncertainty_above=0.01)

    assert judge(GOOD, strict).verdict == "review"
