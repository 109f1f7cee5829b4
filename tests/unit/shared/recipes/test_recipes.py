"""Recipes: what people write, what it means, and what is refused."""

import json
from typing import Any

import jsonschema
import pytest

from shared.errors import InvalidRecipe
from shared.recipes import Recipe, build_recipe, canonical, output_hash, parse_recipe
from shared.recipes.background import Asset, Blur, Colour, NoBackground, StoredAsset
from shared.recipes.checks import CHECKS, Range, SideLimit
from shared.recipes.values import Align, Anchor, Insets, Length, Roi, Size

SHOP = """
name = "shop"
format = "JPEG"
size = "2000x2600"
min_size = [762, 1100]
background = "White"
scale = "85%"
margin = "2% 30px"
enlarge = 2
max_bytes = "10 MB"
align = "bottom"
on_review = "hold"
[checks]
white_background = "must"
min_side_px = { must = 500, should = "longest 1600" }
[checks.should]
fill = [0.75, 0.9]
"""


def px(amount: float) -> Length:
    return Length(amount, "px")


def percent(amount: float) -> Length:
    return Length(amount, "%")


def test_a_recipe_is_read_as_people_write_it() -> None:
    recipe = parse_recipe(SHOP, origin="shop.toml")
    assert recipe.name == "shop"
    assert recipe.format == "jpg"
    assert recipe.size == Size(2000, 2600)
    assert recipe.min_size == Size(762, 1100)
    assert recipe.background == Colour(255, 255, 255)
    assert recipe.fill == 0.85
    assert recipe.margin == Insets(percent(2), px(30), percent(2), px(30))
    assert recipe.max_upscale == 2
    assert recipe.max_bytes == 10_000_000
    assert recipe.align == Align("", "bottom")
    assert recipe.checks.must.active() == {
        "white_background": True,
        "min_side_px": SideLimit(500, 500),
    }
    assert recipe.checks.should.active() == {
        "fill": Range(0.75, 0.9),
        "min_side_px": SideLimit(1600, 1600, longest=True),
    }


def test_json_and_toml_mean_the_same() -> None:
    toml = parse_recipe('format = "webp"\nfill = 0.5\n', origin="a.toml")
    assert parse_recipe('\ufeff{"format": "webp", "fill": "50%"}', origin="a.json") == toml


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("size", "1801 x 2600", Size(1801, 2600)),
        ("size", 2000, Size(2000, 2000)),
        ("size", "original", "original"),
        ("background", "none", NoBackground()),
        ("background", "blur", Blur()),
        ("background", "fff", Colour(255, 255, 255)),
        ("background", "#1234", Colour(0x11, 0x22, 0x33, 0x44)),
        ("background", "#0a0B0c", Colour(10, 11, 12)),
        ("background", "SlateBlue", Colour(106, 90, 205)),
        ("background", "bg/oak.jpg", Asset("bg/oak.jpg")),
        ("background", "./oak", Asset("./oak")),
        ("background", "s3://inbox/bg/oak.jpg", Asset("s3://inbox/bg/oak.jpg")),
        ("background", f"sha256:{'0a' * 32}", StoredAsset("0a" * 32)),
        ("crop_margin", 30, Insets(px(30), px(30), px(30), px(30))),
        ("crop_margin", "1% 2% 3% 4px", Insets(percent(1), percent(2), percent(3), px(4))),
        ("roi", "0 10% 500 90%", Roi(px(0), percent(10), px(500), percent(90))),
        ("position", "center", Anchor(50, 50)),
        ("position", "50% 80%", Anchor(50, 80)),
        ("align", "top left", Align("left", "top")),
        ("align", "centre", Align()),
        ("fill_holes", True, 1.0),
        ("remove_specks", True, 0.01),
        ("remove_specks", "2%", 0.02),
        ("widths", "640,320,640", (320, 640)),
        ("max_bytes", "30 KiB", 30_720),
        ("shadow", "none", None),
        ("format", "TIF", "tiff"),
    ],
)
def test_a_field_accepts_the_forms_that_people_know(
    field: str, written: object, meant: object
) -> None:
    assert getattr(Recipe.model_validate({field: written}), field) == meant


@pytest.mark.parametrize(
    "name",
    [name for name in Recipe.model_fields if name not in {"name", "comment", "version", "source"}],
)
def test_a_value_that_no_field_accepts_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRecipe, match=rf"recipe x\.toml: {name}\b"):
        build_recipe({name: ["\x00", "nonsense", {}]}, origin="x.toml")


@pytest.mark.parametrize("value", ["-5", "5em", "1 2 3", [], [1, 2, 3], True, None, "nan", "inf"])
def test_lengths_that_mean_nothing_are_refused(value: object) -> None:
    with pytest.raises(InvalidRecipe, match="padding"):
        build_recipe({"padding": value if value is not None else {}}, origin="x.toml")


def test_every_problem_is_named_at_once() -> None:
    body = {
        "format": "jpg",
        "size": "axb",
        "fil": 0.5,
        "fill": 0.8,
        "padding": "5%",
        "lossless": True,
        "checks": {"must": {"foo": 1}},
    }
    with pytest.raises(InvalidRecipe) as refused:
        build_recipe(body, origin="shop.toml")
    told = str(refused.value)
    for part in ("size: ", "fil: unknown field", "checks.must.foo: unknown field"):
        assert part in told
    for part in ("fill and padding exclude each other", "lossless: jpg", "background: jpg"):
        assert part in told
    assert "Value error" not in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"enlarge": 2, "max_upscale": 2}, "enlarge is short for max_upscale"),
        ({"format": "jpg"}, "jpg keeps no transparency"),
        ({"format": "jpg", "background": "#ffffff80"}, "jpg keeps no transparency"),
        ({"min_bytes": 2, "max_bytes": 1}, "min_bytes is greater"),
        ({"padding": "50%", "margin": "10px"}, "on the top and bottom leave no room"),
        ({"padding": "0 0 0 60%", "margin": "0 40% 0 0"}, "on the left and right leave no room"),
        ({"size": 500, "longest_px": 100, "aspect": "3:4"}, "remove aspect and longest_px"),
        ({"size": "9000x9000"}, "more than 64 megapixels"),
        ({"min_size": 500}, "min_size needs size"),
        ({"size": 400, "min_size": 500}, "larger than size"),
        ({"fill": 0.5, "crop_margin": 3, "crop": True}, "fill and crop_margin exclude"),
        ({"crop_margin": 3}, "needs crop"),
        ({"fill": 0.5, "position": "original"}, "leaves the subject where it is"),
        ({"fit": "limit"}, "needs size"),
        (
            {"background": "white", "shadow": "soft", "checks": {"white_background": "must"}},
            "a shadow is not white",
        ),
        ({"size": "8001x8000"}, "size: 8001x8000 has more than 64 megapixels"),
        ({"megapixels": 64.1}, "megapixels: "),
        ({"longest_px": 8001, "aspect": "1:1"}, "longest_px: 8001 with aspect 1:1 has more than"),
        ({"background": "a.jpg", "checks": {"white_background": "must"}}, "background is a.jpg"),
        ({"background": "a.jpg", "checks": {"white_background": "should"}}, "background is a.jpg"),
        ({"background": "blur", "checks": {"white_background": "must"}}, "background is blur"),
        ({"checks": {"no_transparency": "must"}}, "set a background"),
        ({"checks": {"formats": {"must": ["jpg"]}}}, "format png is not among"),
        ({"checks": {"min_dpi": {"must": 96}}}, "set dpi"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(body: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRecipe, match=told):
        build_recipe(body, origin="x.toml")


@pytest.mark.parametrize("text", ["x =", '{"format": ', "\x00"])
def test_a_file_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecipe, match="neither TOML nor JSON"):
        parse_recipe(text, origin="shop.toml")


def test_the_canonical_form_is_a_recipe_again_and_survives_json() -> None:
    recipe = parse_recipe(SHOP, origin="shop.toml")
    again = build_recipe(json.loads(json.dumps(canonical(recipe))), origin="x")
    assert canonical(again) == canonical(recipe)
    assert recipe == Recipe.model_validate_json(recipe.model_dump_json())


def test_the_hash_depends_on_what_changes_the_bytes_and_on_nothing_else() -> None:
    plain = build_recipe({"fill": 0.5}, origin="x")
    same = build_recipe(
        {"name": "a", "comment": "b", "scale": "50%", "quality": 90, "on_review": "hold"},
        origin="y",
    )
    assert output_hash("m", plain) == output_hash("m", same)
    for changed in ({"fill": 0.51}, {"fill": 0.5, "checks": {"upscaled": "must"}}):
        assert output_hash("m", build_recipe(changed, origin="x")) != output_hash("m", plain)
    assert output_hash("n", plain) != output_hash("m", plain)


def test_the_schema_names_every_check() -> None:
    limits = Recipe.model_json_schema()["$defs"]["Limits"]["properties"]
    assert tuple(limits) == CHECKS


BACKGROUNDS = {
    "none": True,
    "transparent": True,
    "": True,
    "blur": True,
    "#fff": True,
    "0A0b0c80": True,
    "white": True,
    "SlateBlue": True,
    "wood.jpg": True,
    "./wood": True,
    "../wood.jpg": True,
    "/srv/wood.jpg": True,
    "s3://inbox/bg/wood.jpg": True,
    f"sha256:{'0' * 64}": True,
    "#12345": False,
    "whitee": False,
    "wood": False,
    3: False,
}


@pytest.mark.parametrize(("background", "is_accepted"), BACKGROUNDS.items())
def test_the_schema_accepts_the_backgrounds_that_a_recipe_accepts(
    background: object, *, is_accepted: bool
) -> None:
    schema = jsonschema.Draft202012Validator(Recipe.model_json_schema())
    assert schema.is_valid({"background": background}) == is_accepted
    try:
        build_recipe({"background": background}, origin="x")
    except InvalidRecipe:
        assert not is_accepted
    else:
        assert is_accepted


def test_the_hash_of_an_output_depends_on_the_content_of_its_background_only() -> None:
    oak, pine = (Recipe(background=f"sha256:{digit * 64}") for digit in "01")
    assert output_hash("m", oak) != output_hash("m", pine)
    assert canonical(oak)["background"] == f"sha256:{'0' * 64}"
    assert Recipe.model_validate_json(oak.model_dump_json()) == oak
