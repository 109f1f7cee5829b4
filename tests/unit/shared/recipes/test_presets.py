"""Presets: each one loads, names its source, and makes images that it accepts."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from producer.submission.outputs import choose_outputs
from shared.recipes import presets
from shared.recipes.checks import SideLimit
from shared.recipes.values import Size
from worker.imaging.outputs import make_output
from worker.imaging.render import RenderSource
from worker.imaging.types import NO_METADATA

CHECKER = Path(__file__).parents[3] / "presets/independent_check.py"
CATALOGUE = (
    "about-you amazon-main bol-com coupang ebay etsy google-merchant mercado-libre "
    "mercado-libre-footwear meta myntra myntra-apparel otto pinterest rakuten shopify tiktok-shop "
    "vtex walmart zalando"
)
SMALL_PX = 60
"""Side of an image that is too small for every floor."""


@cache
def product(side_px):
    """Return a textured disc that fills most of a square, on a grey ground."""
    rng = np.random.default_rng(7)
    cells = rng.integers(30, 220, (side_px // 20 + 1, side_px // 20 + 1, 3), dtype=np.uint8)
    texture = cv2.resize(cells, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(0, 25, texture.shape, dtype=np.uint8)
    mask = np.zeros((side_px, side_px), np.uint8)
    cv2.circle(mask, (side_px // 2, side_px // 2), int(side_px * 0.48), 255, -1, cv2.LINE_AA)
    colours = texture + grain
    share = mask[..., None] / 255
    pixels = np.rint(share * colours + (1 - share) * 150).astype(np.uint8)
    return RenderSource(pixels, colours, mask)


@cache
def made(name, side_px):
    return make_output(presets.get(name), product(side_px), NO_METADATA)


def least_side(recipe):
    return recipe.checks.must.min_side_px


def test_the_presets_are_those_of_the_catalogue():
    assert " ".join(presets.names()) == CATALOGUE


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_names_its_source_and_holds_what_fails(name):
    recipe = presets.get(name)
    assert recipe.source is not None
    assert recipe.source.title
    assert recipe.source.address.startswith("https://")
    assert recipe.version >= 1
    assert recipe.comment
    assert recipe.on_review == "hold"
    assert recipe.checks.must.active()


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_can_be_submitted(name):
    (chosen,) = choose_outputs((name,)).recipes
    assert chosen.name == name
    assert chosen.recipe == presets.get(name)


@pytest.mark.parametrize("name", presets.names())
def test_the_floor_of_a_preset_is_no_smaller_than_its_check(name):
    recipe = presets.get(name)
    floor, limit = recipe.min_size, least_side(recipe) or SideLimit(1, 1)
    assert floor is not None
    assert isinstance(recipe.size, Size)
    longest = max(floor.width_px, floor.height_px)
    assert longest >= max(limit.width_px, limit.height_px)
    assert limit.longest or min(floor.width_px, floor.height_px) >= min(
        limit.width_px, limit.height_px
    )


@pytest.mark.parametrize("name", presets.names())
def test_an_image_of_a_large_product_complies(name):
    facts = made(name, 2400).facts
    assert facts.verdict == "ok", facts.failed
    assert not facts.noted
    assert (facts.width, facts.height) == (
        presets.get(name).size.width_px,
        presets.get(name).size.height_px,
    )


@pytest.mark.parametrize("name", presets.names())
def test_an_image_of_a_product_that_is_too_small_is_not_enlarged(name):
    facts = made(name, SMALL_PX).facts
    recipe = presets.get(name)
    assert facts.upscaled == 1
    floor = recipe.min_size
    # The canvas keeps its ratio, which may round a side up.
    assert facts.width - floor.width_px in (0, 1)
    assert facts.height - floor.height_px in (0, 1)
    if recipe.checks.must.fill:
        assert facts.verdict == "review"
        assert "fill" in facts.failed


@pytest.mark.parametrize(
    "name", [each for each in presets.names() if least_side(presets.get(each))]
)
def test_an_image_below_the_least_side_is_reviewed(name):
    recipe = presets.get(name)
    smaller = recipe.model_copy(update={"min_size": Size(50, 50), "size": Size(50, 50)})
    facts = make_output(smaller, product(SMALL_PX), NO_METADATA).facts
    assert facts.verdict == "review"
    assert facts.failed["min_side_px"][0] == "50x50"


def test_the_independent_checker_contradicts_no_image_that_complies(tmp_path):
    for name in presets.names():
        output = made(name, 2400)
        (tmp_path / name).mkdir()
        (tmp_path / name / "disc.jpg").write_bytes(output.files[0])
    done = subprocess.run(
        [sys.executable, CHECKER, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{len(presets.names())} images found ok, 0 contradicted\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("amazon-main", "min_side_px"),
        ("walmart", "min_side_px"),
        ("zalando", "aspect"),
        ("about-you", "min_dpi"),
        ("rakuten", "white_background"),
        ("vtex", "min_bytes"),
        ("coupang", "fill"),
        ("tiktok-shop", "subject_touches_edge"),
    ],
)
def test_the_independent_checker_finds_what_is_wrong(tmp_path, name, check):
    changes = {
        "min_side_px": {"size": Size(400, 400), "min_size": None},
        "aspect": {"size": Size(1000, 1200), "min_size": None},
        "min_dpi": {"dpi": 72},
        "white_background": {"background": presets.get("myntra-apparel").background},
        "min_bytes": {"min_bytes": None, "quality": 40, "size": Size(600, 600)},
        "fill": {"fill": 0.5},
        "subject_touches_edge": {"fill": 1.0},
    }
    recipe = presets.get(name).model_copy(update=changes[check])
    recipe = recipe.model_copy(update={"checks": type(recipe.checks)()})
    (tmp_path / name).mkdir()
    (tmp_path / name / "disc.jpg").write_bytes(
        make_output(recipe, product(1200), NO_METADATA).files[0]
    )
    done = subprocess.run(
        [sys.executable, CHECKER, tmp_path], capture_output=True, text=True, check=False
    )
    assert check in done.stdout
    assert done.returncode == 1


def test_every_pair_of_photograph_and_preset_is_labelled_once():
    labels = json.loads((CHECKER.parent / "feasible.json").read_text())["photos"]
    assert len(labels) == 38
    for photo, label in labels.items():
        named = [*label["feasible"]]
        for which in label["infeasible"].values():
            named += presets.names() if which == "all" else which
        assert sorted(named) == list(presets.names()), photo
