"""Embedded colour profiles are applied: the pixels have the computed sRGB values."""

import zlib

import numpy as np
import pytest
from support import icc
from support.pictures import encoded, plain, png, tiff

from worker.imaging.decode import Limits, decode
from worker.imaging.decode.colour import to_srgb

LIMITS = Limits()
DAMAGED = "colour profile damaged; not applied"
CMYK_PLAIN = "CMYK without a usable profile; converted as coated offset (ISO 12647-2)"
ADOBE_RGB = icc.rgb_profile(icc.ADOBE_RGB, gamma=563 / 256)
DISPLAY_P3 = icc.rgb_profile(icc.DISPLAY_P3)


def printed(c, m, y, k):
    """Return the Lab colour of an ink mix on an invented press; inks are 0 or 1."""
    if k:
        return 0, 0, 0
    return 100 - 35 * c - 40 * m - 8 * y, -30 * c + 70 * m - 5 * y, -45 * c + 5 * m + 85 * y


PRINTER = icc.cmyk_profile(printed)


def expected_of(primaries, colour, *, gamma=None):
    """Return the sRGB levels of *colour*, computed without any colour library."""
    level = np.asarray(colour) / 255
    curve = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    linear = level**gamma if gamma else curve
    return icc.srgb_of_xyz(icc.to_d50(primaries) @ linear)


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (180, 120, 60)]
WIDE = {
    "adobe-rgb": (ADOBE_RGB, icc.ADOBE_RGB, 563 / 256),
    "display-p3": (DISPLAY_P3, icc.DISPLAY_P3, None),
}
CARRIERS = {
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 100},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize(("profile", "primaries", "gamma"), WIDE.values(), ids=WIDE)
def test_wide_gamut_colours_become_srgb_and_are_clipped(profile, primaries, gamma, colour):
    data = encoded(plain(colour), "PNG", icc_profile=profile)

    decoded = decode(data, LIMITS)

    expected = expected_of(primaries, colour, gamma=gamma)
    assert np.abs(decoded.image[8, 8] - expected).max() <= 2
    assert decoded.notes == ()


def test_pure_display_p3_red_is_pure_srgb_red():
    """It lies outside sRGB: red is clipped to 255, green and blue to 0."""
    data = encoded(plain((255, 0, 0)), "PNG", icc_profile=DISPLAY_P3)

    assert decode(data, LIMITS).image[8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("image_format", CARRIERS)
def test_the_profile_of_every_format_is_applied(image_format):
    colour = (60, 180, 60)
    options = CARRIERS[image_format]
    data = encoded(plain(colour), image_format, icc_profile=ADOBE_RGB, **options)

    expected = expected_of(icc.ADOBE_RGB, colour, gamma=563 / 256)
    assert np.abs(decode(data, LIMITS).image[8, 8] - expected).max() <= 4


def test_an_srgb_profile_changes_no_pixel():
    """It is not applied, so that a JPEG takes the fast path."""
    colours = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    profile = icc.rgb_profile(icc.SRGB)

    decoded = decode(encoded(colours, "PNG", icc_profile=profile), LIMITS)

    assert np.array_equal(decoded.image, colours)


def test_an_srgb_profile_is_recognised_by_its_effect():
    """Its name does not matter."""
    assert to_srgb("RGB", {"icc_profile": icc.rgb_profile(icc.SRGB)}).transform is None
    assert to_srgb("RGB", {"icc_profile": DISPLAY_P3}).transform is not None


def test_a_profile_over_pillows_default_limit_is_applied():
    data = encoded(plain((60, 180, 60)), "PNG", icc_profile=ADOBE_RGB + bytes(2 * 2**20))

    decoded = decode(data, LIMITS)

    expected = expected_of(icc.ADOBE_RGB, (60, 180, 60), gamma=563 / 256)
    assert np.abs(decoded.image[8, 8] - expected).max() <= 2
    assert decoded.notes == ()


def test_a_grey_profile_is_applied_to_grey():
    data = encoded(plain(100), "PNG", icc_profile=icc.grey_profile(gamma=1.0))

    image = decode(data, LIMITS).image

    # Linear 100/255 on the sRGB curve.
    assert np.abs(image.astype(int) - 168).max() <= 1


def test_an_rgb_profile_is_applied_to_grey():
    data = encoded(plain(100), "PNG", icc_profile=icc.rgb_profile(icc.SRGB, gamma=1.0))

    assert np.abs(decode(data, LIMITS).image.astype(int) - 168).max() <= 1


@pytest.mark.parametrize("ink", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 255)])
@pytest.mark.parametrize("image_format", ["TIFF", "JPEG"])
def test_a_cmyk_profile_is_applied(image_format, ink):
    data = encoded(plain(ink), image_format, "CMYK", icc_profile=PRINTER)

    decoded = decode(data, LIMITS)

    lab = printed(*(level // 255 for level in ink))
    assert np.abs(decoded.image[8, 8] - icc.srgb_of_lab(*lab)).max() <= 3
    assert decoded.notes == ()


SOLIDS = {
    (255, 0, 0, 0): (55, -37, -50),
    (0, 255, 0, 0): (48, 74, -3),
    (0, 0, 255, 0): (89, -5, 93),
    (0, 255, 255, 0): (47, 68, 48),
    (255, 0, 255, 0): (50, -68, 25),
    (255, 255, 0, 0): (24, 17, -46),
    (0, 0, 0, 255): (16, 0, 0),
}
"""Ink -> Lab by ISO 12647-2, coated paper, on paper of L* 95."""


@pytest.mark.parametrize("ink", SOLIDS, ids=str)
@pytest.mark.parametrize("image_format", ["TIFF", "JPEG"])
def test_solid_inks_without_a_profile_have_the_colours_of_the_standard(image_format, ink):
    """They are a little brighter and more saturated, as white paper and black ink are scaled."""
    decoded = decode(encoded(plain(ink), image_format, "CMYK"), LIMITS)

    assert np.abs(decoded.image[8, 8] - icc.srgb_of_lab(*SOLIDS[ink])).max() <= 18
    assert decoded.notes == (CMYK_PLAIN,)


@pytest.mark.parametrize(
    ("ink", "colour"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 255, 255, 255), (0, 0, 0))],
    ids=["paper", "all inks"],
)
def test_paper_is_white_and_all_inks_are_black_without_a_profile(ink, colour):
    decoded = decode(encoded(plain(ink), "TIFF", "CMYK"), LIMITS)

    assert np.abs(decoded.image[8, 8].astype(int) - colour).max() <= 1


def test_halftones_without_a_profile_grow_as_in_print():
    """Half of the paper is covered to 67 %, so that 33 % of the light comes back."""
    decoded = decode(encoded(plain((0, 0, 0, 128)), "TIFF", "CMYK"), LIMITS)

    expected = icc.srgb_of_xyz(icc.D50 * (0.33 + 0.67 * 0.017))
    assert np.abs(decoded.image[8, 8] - expected).max() <= 3


def test_more_ink_is_never_brighter_without_a_profile():
    levels = np.arange(256, dtype=np.uint8)
    for ink in range(4):
        pixels = np.zeros((1, 256, 4), np.uint8)
        pixels[0, :, ink] = levels
        image = decode(encoded(pixels, "TIFF", "CMYK"), LIMITS).image[0].astype(int)
        assert (np.diff(image.sum(-1)) <= 1).all()


def test_lab_needs_no_profile():
    """TIFF stores a and b as signed bytes."""
    colour = (round(50 * 2.55), 40, 30)

    image = decode(tiff(plain(colour), photometric=8), LIMITS).image

    assert np.abs(image[8, 8] - icc.srgb_of_lab(50, 40, 30)).max() <= 3


@pytest.mark.parametrize(
    "profile", [b"garbage", ADOBE_RGB[:200], bytes(4000)], ids=["garbage", "cut", "zeros"]
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_a_damaged_profile_is_noted_and_not_applied(image_format, profile):
    data = encoded(plain((60, 180, 60)), image_format, icc_profile=profile)

    decoded = decode(data, LIMITS)

    assert np.abs(decoded.image[8, 8].astype(int) - (60, 180, 60)).max() <= 2
    assert decoded.notes == (DAMAGED,)


def test_a_profile_that_cannot_be_decompressed_is_noted():
    data = png(plain((60, 180, 60)), chunks=[(b"iCCP", b"name\0\0not deflate")])

    decoded = decode(data, LIMITS)

    assert decoded.image[8, 8].tolist() == [60, 180, 60]
    assert decoded.notes == (DAMAGED,)


def test_a_profile_for_another_colour_space_is_noted_and_not_applied():
    decoded = decode(encoded(plain((60, 180, 60)), "PNG", icc_profile=PRINTER), LIMITS)

    assert decoded.image[8, 8].tolist() == [60, 180, 60]
    assert decoded.notes == ("colour profile is for CMYK images; not applied",)


def test_a_profile_over_the_size_limit_is_not_applied():
    profile = DISPLAY_P3 + bytes(9 * 2**20)

    decoded = decode(encoded(plain((60, 180, 60)), "TIFF", icc_profile=profile), LIMITS)

    assert decoded.image[8, 8].tolist() == [60, 180, 60]
    assert "too large; not applied" in decoded.notes[0]


def test_cmyk_with_a_damaged_profile_is_converted_as_without_one():
    decoded = decode(encoded(plain((0, 255, 255, 0)), "TIFF", "CMYK", icc_profile=b"no"), LIMITS)

    assert np.abs(decoded.image[8, 8] - icc.srgb_of_lab(47, 68, 48)).max() <= 18
    assert decoded.notes == (DAMAGED, CMYK_PLAIN)


def named(colour, *numbers, profile=None):
    """Return a PNG of one colour whose `cICP` chunk holds *numbers*."""
    chunks = [(b"cICP", bytes(numbers))]
    if profile is not None:
        chunks.append((b"iCCP", b"p\0\0" + zlib.compress(profile)))
    return png(plain(colour), chunks=chunks)


def bt_2020(colour):
    curve = np.asarray(colour) / 255
    linear = np.where(curve <= 0.04045, curve / 12.92, ((curve + 0.055) / 1.055) ** 2.4)
    primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
    return icc.srgb_of_xyz(icc.to_d50(primaries) @ linear)


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("transfer", [13, 1])
def test_display_p3_and_bt_2020_named_in_a_png_become_srgb(transfer, colour):
    p3 = decode(named(colour, 12, transfer, 0, 1), LIMITS)
    wide = decode(named(colour, 9, transfer, 0, 1), LIMITS)

    assert np.abs(p3.image[8, 8] - expected_of(icc.DISPLAY_P3, colour)).max() <= 2
    assert np.abs(wide.image[8, 8] - bt_2020(colour)).max() <= 2
    assert p3.notes == wide.notes == ()


def test_srgb_named_in_a_png_changes_no_pixel():
    assert decode(named((60, 180, 60), 1, 13, 0, 1), LIMITS).image[8, 8].tolist() == [60, 180, 60]


@pytest.mark.parametrize(("transfer", "exponent"), [(4, 2.2), (5, 2.8), (8, 1.0)])
def test_the_transfer_function_named_in_a_png_is_applied(transfer, exponent):
    image = decode(named((100, 100, 100), 1, transfer, 0, 1), LIMITS).image

    expected = icc.srgb_of_xyz(icc.D50 * (100 / 255) ** exponent)
    assert np.abs(image[8, 8] - expected).max() <= 2


def test_the_named_colour_space_takes_precedence_over_a_profile():
    """The specification of PNG demands it (13.14)."""
    decoded = decode(named((60, 180, 60), 1, 13, 0, 1, profile=ADOBE_RGB), LIMITS)

    assert decoded.image[8, 8].tolist() == [60, 180, 60]


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((9, 16, 0, 1), "9/16/0/1 of the PNG (HDR, PQ)"),
        ((9, 18, 0, 1), "9/18/0/1 of the PNG (HDR, HLG)"),
        ((11, 13, 0, 1), "11/13/0/1 of the PNG"),
        ((1, 13, 0, 0), "1/13/0/0 of the PNG"),
    ],
)
def test_a_named_colour_space_that_is_not_converted_is_noted(numbers, name):
    decoded = decode(named((60, 180, 60), *numbers), LIMITS)

    assert decoded.image[8, 8].tolist() == [60, 180, 60]
    assert decoded.notes == (f"colour space {name} is not converted; taken as sRGB",)


@pytest.mark.parametrize("content", [b"", b"\x0c\x0d\0", b"\x0c\x0d\0\1\0"])
def test_a_damaged_cicp_chunk_is_ignored(content):
    data = png(plain((60, 180, 60)), chunks=[(b"cICP", content)])

    assert decode(data, LIMITS).image[8, 8].tolist() == [60, 180, 60]


def test_the_profile_is_applied_to_straight_colours_too():
    pixels = plain((60, 180, 60, 128))

    decoded = decode(encoded(pixels, "PNG", icc_profile=ADOBE_RGB), LIMITS)

    expected = expected_of(icc.ADOBE_RGB, (60, 180, 60), gamma=563 / 256)
    assert np.abs(decoded.straight[8, 8] - expected).max() <= 2
