"""Parameters of remove.bg as recipes, and the codes of those that are not valid."""

from urllib.parse import parse_qsl

import pytest

from producer.gateway.fronts.removebg_fields import InvalidField, translate
from shared.recipes import Recipe


def made(query, **details):
    return translate(dict(parse_qsl(query, keep_blank_values=True)), **details)


def recipe(**fields):
    defaults = {"name": "removebg", "megapixels": 0.25, "fit": "limit"}
    return Recipe.model_validate(defaults | fields)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("size=preview&type=auto&format=&bg_color=", {}),
        ("size=small", {}),
        ("size=regular", {}),
        ("size=medium", {"megapixels": 1.5}),
        ("size=hd", {"megapixels": 4}),
        ("size=full", {"megapixels": 10}),
        ("size=4k&format=zip", {"megapixels": 25, "format": "zip"}),
        ("size=auto&format=webp", {"megapixels": 25, "format": "webp"}),
        ("size=50MP&format=webp", {"megapixels": 50, "format": "webp"}),
        ("size=50MP", {"megapixels": 10}),
        ("format=jpg", {"format": "jpg", "background": "white"}),
        ("bg_color=81d4fa", {"format": "jpg", "background": "#81d4fa"}),
        ("bg_color=81d4fa77", {"format": "png", "background": "#81d4fa77"}),
        ("bg_color=green&format=png", {"format": "png", "background": "green"}),
        ("crop=true", {"crop": True}),
        ("crop=true&crop_margin=30px 10%", {"crop": True, "crop_margin": "30px 10%"}),
        ("crop_margin=30px", {}),  # only with crop
        ("scale=80%", {"fill": 0.8, "max_upscale": 16}),
        ("scale=original", {}),
        ("scale=80%&position=20% 30%", {"fill": 0.8, "max_upscale": 16, "position": "20% 30%"}),
        ("position=center", {"position": "centre"}),
        ("position=20%", {"position": "20% 20%"}),
        ("position=original", {"position": "original"}),
        ("roi=0% 10px 100% 90%", {"roi": "0% 10px 100% 90%"}),
        ("add_shadow=true", {"shadow": "soft"}),
        ("shadow_type=drop&shadow_opacity=40", {"shadow": {"opacity": 0.4}}),
        ("shadow_type=none&add_shadow=false", {}),
        ("semitransparency=false&type=product&type_level=latest", {}),
    ],
)
def test_parameters_and_their_recipe(query, fields):
    assert made(query).recipe == recipe(**fields)


def test_the_mask_alone_is_taken_from_a_zip():
    wanted = made("channels=alpha&crop=true")

    assert (wanted.wants_mask, wanted.recipe) == (True, recipe(format="zip", crop=True))


def test_a_jpeg_on_an_image_has_a_placeholder_until_the_image_is_known():
    assert made("", has_background=True).recipe == recipe(format="jpg", background="white")


def test_the_preview_can_have_all_pixels():
    assert made("", preview_mp=25).recipe.megapixels == 10  # as much as a PNG may have


def test_type_level_none_leaves_the_type_out():
    assert [made(query).has_type for query in ("", "type_level=2", "type_level=none")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("size=huge", "invalid_size"),
        ("format=gif", "invalid_format"),
        ("channels=alpha&format=jpg", "invalid_format"),
        ("channels=rgb", "invalid_channels"),
        ("type=unicorn", "invalid_type"),
        ("type_level=3", "invalid_type_level"),
        ("roi=10%", "invalid_roi"),
        ("roi=a% b% c% d%", "invalid_roi"),
        ("roi=1.2.3% 0% 1% 1%", "invalid_roi"),
        ("roi=0% 0% 120% 100%", "roi_exceeds_bounds"),
        ("roi=50% 0% 50% 100%", "roi_region_empty"),
        ("crop=maybe", "invalid_crop"),
        ("crop=true&crop_margin=60%", "invalid_crop_margin"),
        ("crop=true&crop_margin=600px", "invalid_crop_margin"),
        ("crop=true&crop_margin=1 2 3", "invalid_crop_margin"),
        ("crop=true&crop_margin=5%&scale=50%", "invalid_crop_margin"),
        ("scale=5%", "invalid_scale"),
        ("scale=110%", "invalid_scale"),
        ("scale=big", "invalid_scale"),
        ("scale=nan", "invalid_scale"),
        ("position=left", "invalid_position"),
        ("position=120%", "invalid_position"),
        ("position=original&scale=50%", "invalid_position"),
        ("bg_color=nocolour", "invalid_bg_color"),
        ("bg_color=blur", "invalid_bg_color"),
        ("bg_color=a/b.jpg", "invalid_bg_color"),
        ("add_shadow=perhaps", "invalid_add_shadow"),
        ("add_shadow=true&type=car", "invalid_shadow_type"),
        ("shadow_type=car", "invalid_shadow_type"),
        ("shadow_type=3D", "invalid_shadow_type"),
        ("shadow_type=long", "invalid_shadow_type"),
        ("shadow_opacity=200", "invalid_shadow_opacity"),
        ("semitransparency=some", "invalid_semitransparency"),
        ("colour=red", "unknown_parameter"),
    ],
)
def test_a_parameter_that_is_not_valid_has_the_code_of_the_specification(query, code):
    with pytest.raises(InvalidField) as raised:
        made(query)

    assert raised.value.code == code


def test_two_backgrounds_are_refused():
    with pytest.raises(InvalidField) as raised:
        made("bg_color=red", has_background=True)

    assert raised.value.code == "multiple_bg_sources"
