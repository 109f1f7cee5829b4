"""The checks of compliance, on files as shops and other programs have them."""

import io

import numpy as np
import pytest
from PIL import Image
from support import foreign
from support.discs import disc
from support.pictures import encoded, photo

from shared.recipes.checks import CHECKS, Checks
from worker.imaging.compliance import REGISTRY, Context, check
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import FORMATS, encode

WHITE = np.full((60, 80, 3), 255, np.uint8)
ALL = {
    "white_background": True,
    "fill": 0.5,
    "min_side_px": 10,
    "max_side_px": 1000,
    "megapixels": 1,
    "aspect": "4:3",
    "formats": ["jpg", "png", "gif", "bmp", "tiff", "webp", "avif"],
    "extension_matches": True,
    "colour_space": True,
    "no_transparency": True,
    "max_bytes": "1 MB",
    "min_bytes": 10,
    "subject_touches_edge": True,
    "upscaled": True,
    "jpeg_quality": 80,
    "min_dpi": 72,
    "no_private_metadata": True,
}


def findings(data, context=None, **must):
    """Return the findings by the name of the check."""
    checks = Checks.model_validate({"must": must})
    return {found.check: found for found in check(data, checks, context or Context())}


def one(data, context=None, **must):
    (found,) = findings(data, context, **must).values()
    return found


def on_white(left, top, width, height):
    """Return an image with a grey box, and its mask."""
    pixels, mask = WHITE.copy(), np.zeros(WHITE.shape[:2], np.uint8)
    box = np.s_[top : top + height, left : left + width]
    pixels[box], mask[box] = 90, 255
    return encode(pixels, Encoding(format="png")), mask


def test_every_check_of_a_recipe_is_made():
    assert tuple(REGISTRY) == CHECKS
    assert set(ALL) == set(CHECKS)


def test_a_finding_has_its_level_and_limit():
    checks = Checks.model_validate({"must": {"min_side_px": 70}, "should": {"min_side_px": 50}})

    strict, lenient = check(encode(WHITE, Encoding(format="png")), checks, Context())

    assert (strict.level, strict.state, strict.value, strict.limit) == (
        *("must", "failed"),
        *("80x60", "70x70"),
    )
    assert "80x60 is too small" in strict.reason
    assert (lenient.level, lenient.state) == ("should", "passed")


@pytest.mark.parametrize("name", FORMATS)
def test_our_own_outputs_of_every_format_comply(name, rng):
    made = disc(rng, 200, share=0.7)
    encoding = Encoding(format=name, quality=95, dpi=(300, 300))
    context = Context(extension=name, mask=made.mask, cut=frozenset(), upscaled=1.0)
    must = ALL | {"aspect": "1:1"}
    if name == "zip":  # which no marketplace takes
        must["formats"] = []

    found = findings(encode(made.pixels, encoding), context, **must)

    assert {each.check: each.reason for each in found.values() if each.state != "passed"} == {}


def test_what_needs_more_than_the_file_is_not_possible_without_it():
    found = findings(encode(photo(), Encoding(format="jpg", dpi=(72, 72))), **ALL)

    missing = {name for name, each in found.items() if each.state == "not possible"}
    assert missing == {"fill", "extension_matches", "subject_touches_edge", "upscaled"}
    assert all(found[name].reason for name in missing)


@pytest.mark.parametrize(
    ("fill_of", "value"), [("longest_side", 0.5), ("box_area", 0.25), ("mask_area", 0.25)]
)
def test_fill_is_measured_as_the_marketplace_means_it(fill_of, value):
    data, mask = on_white(20, 15, 40, 30)

    known = one(data, Context(mask=mask, fill_of=fill_of), fill=value)
    estimated = one(data, Context(fill_of=fill_of), fill=value)

    assert known.value == estimated.value == value
    assert known.state == estimated.state == "passed"
    assert one(data, Context(mask=mask, fill_of=fill_of), fill=value + 0.03).state == "failed"
    assert one(data, Context(mask=mask, fill_of=fill_of), fill=[0, value - 0.03]).state == "failed"


def test_an_axis_on_which_the_source_cuts_the_subject_is_left_out_of_fill():
    data, mask = on_white(0, 15, 72, 30)
    sides, all_sides = frozenset({"left"}), frozenset({"left", "top"})

    assert one(data, Context(mask=mask, cut=sides), fill=[0.4, 0.6]).value == 0.5
    assert one(data, Context(mask=mask, cut=all_sides), fill=0.5).state == "not possible"
    area = Context(mask=mask, cut=sides, fill_of="box_area")
    assert "n/a: the source cuts" in one(data, area, fill=0.5).reason


def test_the_subject_of_a_transparent_file_is_its_alpha():
    cutout = np.zeros((60, 80, 4), np.uint8)
    cutout[15:45, 20:60] = 255

    found = one(encode(cutout, Encoding(format="png")), fill=0.5)

    assert found.value == 0.5


def test_an_empty_image_has_no_subject_that_could_fill_it():
    found = one(encode(WHITE, Encoding(format="png")), fill=0.5)

    assert (found.state, found.reason) == ("not possible", "there is no subject")


@pytest.mark.parametrize(
    ("place", "sides"),
    [((0, 15), ["left"]), ((20, 0), ["top"]), ((40, 15), ["right"]), ((20, 30), ["bottom"])],
)
def test_the_touched_sides_are_named(place, sides):
    data, mask = on_white(*place, 40, 30)

    assert one(data, Context(mask=mask), subject_touches_edge=True).value == sides


def test_a_side_that_the_source_cuts_counts_as_touched():
    data, mask = on_white(20, 15, 40, 30)

    assert one(data, Context(mask=mask), subject_touches_edge=True).state == "passed"
    cut = Context(mask=mask, cut=frozenset({"top"}))
    assert one(data, cut, subject_touches_edge=True).value == ["top"]


@pytest.mark.parametrize("quality", [1, 24, 25, 50, 74, 75, 89, 90, 97, 100])
def test_the_quality_of_a_jpeg_is_estimated_exactly(quality):
    data = foreign.written("jpg", photo(), quality=quality)

    assert one(data, jpeg_quality=quality).value == quality
    assert one(data, jpeg_quality=quality).state == "passed"
    if quality < 100:
        assert one(data, jpeg_quality=quality + 1).state == "failed"


def test_the_quality_of_other_tables_is_near():
    tables = [[step * 3 // 2 for step in quantisation(90)]] * 2

    data = encoded(photo(), "JPEG", qtables=tables)

    assert 80 <= one(data, jpeg_quality=1).value <= 89


def quantisation(quality):
    return Image.open(io.BytesIO(encoded(photo(), "JPEG", quality=quality))).quantization[0]


@pytest.mark.parametrize("name", ["png", "gif", "bmp", "webp"])
def test_other_formats_have_no_jpeg_quality(name):
    found = one(foreign.written(name, photo()), jpeg_quality=90)

    assert (found.state, found.reason) == ("passed", "not a JPEG")


def test_sides_are_those_of_the_upright_image():
    data = encoded(photo(80, 60), "JPEG", exif=turned())

    assert one(data, min_side_px=1).value == "60x80"


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def test_the_bytes_of_a_zip_are_those_of_the_whole_file():
    cutout = np.zeros((60, 80, 4), np.uint8)
    cutout[15:45, 20:60] = 200
    data = encode(cutout, Encoding(format="zip"))

    found = findings(data, Context(extension="zip"), **ALL)

    assert found["max_bytes"].value == len(data)
    assert found["extension_matches"].state == "passed"
    assert found["no_transparency"].value == 1
    assert found["fill"].value == 0.5


def test_resolution_is_compared_as_whole_numbers():
    """A PNG holds pixels per metre: 300 dpi come back as 299.9994."""
    data = encode(WHITE, Encoding(format="png", dpi=(300, 300)))

    assert one(data, min_dpi=300).state == "passed"
    assert one(data, min_dpi=301).state == "failed"
    assert one(encode(WHITE, Encoding(format="png")), min_dpi=1).state == "failed"


def test_names_of_private_fields_are_told_and_values_are_not():
    tags = {271: "Nikon", foreign.GPS_IFD: {1: "N", 2: 51.5}}

    found = one(foreign.written("jpg", WHITE, tags=tags), no_private_metadata=True)

    assert found.value == ["EXIF GPS", "EXIF Make"]
    assert "Nikon" not in found.reason
