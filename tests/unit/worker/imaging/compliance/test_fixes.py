"""Fixes: another encoding for what failed, each way of changing the quality once."""

import numpy as np
import pytest
from support.discs import disc
from support.photographs import enlarged

from shared.recipes import Recipe
from shared.recipes.checks import Checks
from worker.imaging.compliance import Context, check, checks_of, comply, next_fix
from worker.imaging.compliance.fixes import FLOOR_QUALITY
from worker.imaging.compliance.types import Finding
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import encode

JPG = Encoding(format="jpg", quality=90)


def failed(name, value=None, limit=None):
    return Finding(name, "must", value, limit, "failed", "because")


def complied(pixels, encoding, mask=None, **must):
    checks = Checks.model_validate({"must": must})
    return comply(
        lambda each: encode(pixels, each),
        lambda data: check(data, checks, Context(mask=mask)),
        encoding,
    )


def states(result):
    return {each.check: each.state for each in result.findings}


def test_a_file_that_complies_is_encoded_once():
    result = complied(enlarged("cat", 200, 200), JPG, max_bytes="1 MB")

    assert result.fixes == ()
    assert states(result) == {"max_bytes": "passed"}


@pytest.mark.parametrize("name", ["cat", "coffee", "temple"])
@pytest.mark.parametrize("image_format", ["jpg", "webp", "avif"])
def test_quality_goes_down_until_the_bytes_fit(name, image_format):
    pixels, encoding = enlarged(name, 300, 400), Encoding(format=image_format, quality=95)
    limit = int(len(encode(pixels, encoding)) * 0.6)

    result = complied(pixels, encoding, max_bytes=limit)

    assert states(result) == {"max_bytes": "passed"}
    assert len(result.data) <= limit
    assert {fix.name for fix in result.fixes} == {"lower quality"}
    assert len(result.fixes) <= 3


def test_quality_stops_at_the_floor():
    result = complied(enlarged("cat", 200, 200), JPG, max_bytes=500)

    assert states(result) == {"max_bytes": "failed"}
    assert result.fixes[-1].encoding.quality == FLOOR_QUALITY


def test_quality_stops_where_a_check_wants_it():
    result = complied(enlarged("cat", 200, 200), JPG, max_bytes=500, jpeg_quality=84)

    assert result.fixes[-1].encoding.quality == 84
    assert states(result) == {"max_bytes": "failed", "jpeg_quality": "passed"}


def test_a_quality_below_the_floor_is_not_raised():
    low = Encoding(format="jpg", quality=50)

    assert next_fix(low, [failed("max_bytes", 1000, 500)]) is None


def test_quality_goes_up_until_the_bytes_are_enough():
    pixels = enlarged("cat", 200, 200)
    limit = len(encode(pixels, JPG)) + 5000

    result = complied(pixels, JPG, min_bytes=limit)

    assert states(result) == {"min_bytes": "passed"}
    assert {fix.name for fix in result.fixes} == {"raise quality"}


def test_the_best_quality_is_the_end():
    result = complied(np.zeros((9, 9, 3), np.uint8), JPG, min_bytes="1 MB")

    assert result.fixes[-1].encoding.quality == 100
    assert states(result) == {"min_bytes": "failed"}


def test_reduced_colour_is_given_up_for_white():
    first = next_fix(
        Encoding(format="jpg", subsampling="4:2:0"), [failed("white_background", [9, 0, 0])]
    )

    assert first.name == "full colour resolution"
    assert first.encoding == Encoding(format="jpg", subsampling="4:4:4")


def test_white_that_a_low_quality_cannot_hold_is_fixed(rng):
    """At some low qualities 255 comes back as 254."""
    made = disc(rng, 200, share=0.5)
    low = Encoding(format="jpg", quality=quality_without_white(), subsampling="4:2:0")

    result = complied(made.pixels, low, made.mask, white_background=True)

    assert states(result) == {"white_background": "passed"}
    assert [fix.name for fix in result.fixes] == ["full colour resolution", "raise quality"]


def quality_without_white():
    white = np.full((8, 8, 3), 255, np.uint8)
    checks = Checks.model_validate({"must": {"white_background": True}})
    for quality in range(69, 0, -1):
        data = encode(white, Encoding(format="jpg", quality=quality))
        if check(data, checks, Context(mask=white[..., 0] * 0))[0].state == "failed":
            return quality
    raise AssertionError("every quality keeps white")


def test_the_fixes_of_two_checks_do_not_undo_each_other(rng):
    made = disc(rng, 200, share=0.5, kind=0)
    made.pixels[:9, :9] = 200  # which no encoding makes white

    result = complied(made.pixels, JPG, made.mask, max_bytes=3000, white_background=True)

    names = [fix.name for fix in result.fixes]
    assert len(set(names)) == 1
    assert "failed" in states(result).values()


@pytest.mark.parametrize(
    "encoding",
    [Encoding(format="png"), Encoding(format="tiff"), Encoding(format="webp", lossless=True)],
)
@pytest.mark.parametrize("name", ["max_bytes", "min_bytes", "white_background"])
def test_lossless_formats_have_nothing_to_change(encoding, name):
    assert next_fix(encoding, [failed(name, 2, 1)]) is None


def test_checks_that_need_another_image_have_no_fix_here():
    for name in ("fill", "min_side_px", "aspect", "upscaled", "subject_touches_edge"):
        assert next_fix(JPG, [failed(name)]) is None


@pytest.mark.parametrize("state", ["passed", "not possible"])
def test_only_what_failed_is_fixed(state):
    assert next_fix(JPG, [Finding("max_bytes", "must", 2, 1, state, "")]) is None


def test_the_byte_limits_of_a_recipe_are_checks_that_must_pass():
    recipe = Recipe(
        max_bytes=900, min_bytes=100, checks={"must": {"max_bytes": 1000, "min_bytes": 50}}
    )

    must = checks_of(recipe).must

    assert (must.max_bytes, must.min_bytes) == (900, 100)
    assert checks_of(Recipe(checks={"must": {"max_bytes": 7}})).must.active() == {"max_bytes": 7}
