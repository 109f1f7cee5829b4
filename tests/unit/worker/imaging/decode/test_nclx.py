"""The colour space that an AVIF or HEIC names by numbers is converted or noted."""

import struct

import numpy as np
import pytest
from support import icc
from support.pictures import encoded, plain

from worker.imaging.decode import Limits, decode
from worker.imaging.decode.iso_boxes import primary_properties

LIMITS = Limits()
COLOUR = (100, 150, 60)
OPTIONS = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": 100, "chroma": 444},
}
BT_2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))


def named(image_format, primaries, transfer, *, size=64, **options):
    """Return a file of one colour whose only statement about colours are these numbers."""
    pixels = plain(COLOUR, size, size)
    data = encoded(pixels, image_format, **OPTIONS[image_format], **options)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def expected(primaries, light):
    return icc.srgb_of_xyz(icc.to_d50(primaries) @ light)


def srgb_light(colour):
    level = np.asarray(colour) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("image_format", OPTIONS)
@pytest.mark.parametrize(("number", "primaries"), [(12, icc.DISPLAY_P3), (9, BT_2020)])
def test_wide_primaries_become_srgb(image_format, number, primaries):
    plain_pixel = decode(named(image_format, 1, 13), LIMITS).image[32, 32]

    decoded = decode(named(image_format, number, 13), LIMITS)

    light = expected(primaries, srgb_light(plain_pixel))
    assert np.abs(decoded.image[32, 32] - light).max() <= 2
    assert np.abs(decoded.image[32, 32].astype(int) - plain_pixel).max() > 10
    assert decoded.notes == ()


@pytest.mark.parametrize("image_format", OPTIONS)
@pytest.mark.parametrize(("transfer", "exponent"), [(4, 2.2), (5, 2.8), (8, 1.0)])
def test_the_transfer_function_is_applied(image_format, transfer, exponent):
    plain_pixel = decode(named(image_format, 1, 13), LIMITS).image[32, 32]

    pixel = decode(named(image_format, 1, transfer), LIMITS).image[32, 32]

    light = expected(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (plain_pixel / 255) ** exponent)
    assert np.abs(pixel - light).max() <= 2


@pytest.mark.parametrize("image_format", OPTIONS)
@pytest.mark.parametrize("numbers", [(1, 13), (1, 1), (2, 2), (2, 13), (1, 2)])
def test_srgb_and_unspecified_numbers_change_no_pixel(image_format, numbers):
    decoded = decode(named(image_format, *numbers), LIMITS)

    assert np.abs(decoded.image[32, 32] - np.array(COLOUR)).max() <= 2
    assert decoded.notes == ()


@pytest.mark.parametrize("image_format", OPTIONS)
@pytest.mark.parametrize(
    ("numbers", "name"),
    [((9, 16), "9/16"), ((9, 18), "9/18"), ((11, 13), "11/13"), ((22, 13), "22/13")],
)
def test_a_colour_space_that_is_not_converted_is_noted(image_format, numbers, name):
    decoded = decode(named(image_format, *numbers), LIMITS)

    kind = {16: " (HDR, PQ)", 18: " (HDR, HLG)"}.get(numbers[1], "")
    assert np.abs(decoded.image[32, 32] - np.array(COLOUR)).max() <= 2
    assert decoded.notes == (
        f"colour space {name} of the {image_format}{kind} is not converted; taken as sRGB",
    )


@pytest.mark.parametrize("image_format", OPTIONS)
def test_alpha_does_not_hide_the_colour_space_of_the_image(image_format):
    pixels = plain((*COLOUR, 255), 64, 64)
    pixels[:20, :, 3] = 0
    data = encoded(pixels, image_format, **OPTIONS[image_format])
    wide = data.replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x0c\0\x0d")

    before, after = decode(data, LIMITS), decode(wide, LIMITS)

    light = expected(icc.DISPLAY_P3, srgb_light(before.straight[40, 32]))
    assert np.abs(after.straight[40, 32] - light).max() <= 2


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def header(colours, ipma, *, primary=2):
    """Return a header with these `colr` boxes, the properties 1, 2, ..."""
    ipco = b"".join(box(b"colr", b"nclx" + struct.pack(">HHHB", *each)) for each in colours)
    pitm = box(b"pitm", struct.pack(">IH", 0, primary))
    iprp = box(b"iprp", box(b"ipco", ipco) + box(b"ipma", ipma))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + pitm + iprp)


NARROW, WIDE = (1, 13, 6, 128), (12, 13, 6, 128)


@pytest.mark.parametrize(
    "ipma",
    [
        struct.pack(">II HBB HBB", 0, 2, 1, 1, 0x81, 2, 1, 0x82),
        struct.pack(">II HBH HBH", 1, 2, 1, 1, 0x8001, 2, 1, 2),
        struct.pack(">II IBB IBB", 1 << 24, 2, 1, 1, 1, 2, 1, 2),
    ],
    ids=["narrow", "wide numbers", "wide items"],
)
def test_the_properties_of_the_primary_image_count(ipma):
    found = primary_properties(header([NARROW, WIDE], ipma))

    assert found == [b"colrnclx" + struct.pack(">HHHB", *WIDE)]


@pytest.mark.parametrize("ipma", [b"", bytes(7), struct.pack(">II HB", 0, 9, 2, 200)])
def test_with_a_damaged_list_of_properties_all_count(ipma):
    assert len(primary_properties(header([NARROW, WIDE], ipma))) == 2
