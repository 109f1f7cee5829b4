"""Embedded colour profiles are applied: the pixels have the computed sRGB values."""

import numpy as np
import pytest
from support import icc
from support.pictures import encoded, plain, png, tiff

from worker.imaging.decode import Limits, decode
from worker.imaging.decode.colour import to_srgb

LIMITS = Limits()
DAMAGED = "colour profile damaged; not applied"
CMYK_PLAIN = "CMYK without a usable profile; converted by formula"
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


def test_cmyk_without_a_profile_is_converted_by_formula_and_noted():
    decoded = decode(encoded(plain((255, 0, 0, 127)), "TIFF", "CMYK"), LIMITS)

    assert decoded.image[8, 8].tolist() == [0, 128, 128]
    assert decoded.notes == (CMYK_PLAIN,)


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


def test_cmyk_with_a_damaged_profile_is_converted_by_formula():
    decoded = decode(encoded(plain((0, 255, 255, 0)), "TIFF", "CMYK", icc_profile=b"no"), LIMITS)

    assert decoded.image[8, 8].tolist() == [255, 0, 0]
    assert decoded.notes == (DAMAGED, CMYK_PLAIN)


def test_the_profile_is_applied_to_straight_colours_too():
    pixels = plain((60, 180, 60, 128))

    decoded = decode(encoded(pixels, "PNG", icc_profile=ADOBE_RGB), LIMITS)

    expected = expected_of(icc.ADOBE_RGB, (60, 180, 60), gamma=563 / 256)
    assert np.abs(decoded.straight[8, 8] - expected).max() <= 2
