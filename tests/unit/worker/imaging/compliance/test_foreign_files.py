"""Files of other programs: each can be checked, or an error says why it cannot be read."""

import numpy as np
import pytest
from support import foreign, icc
from support.pictures import encoded, photo, png

from shared.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from shared.recipes.checks import Checks
from worker.imaging.compliance import Context, check
from worker.imaging.decode import Limits
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import encode

ADOBE_RGB = icc.rgb_profile(icc.ADOBE_RGB, gamma=2.2)
DISPLAY_P3 = icc.rgb_profile(icc.DISPLAY_P3)
WHITE = np.full((60, 80, 3), 255, np.uint8)
MUST = {
    "formats": ["jpg", "png", "gif", "bmp", "tiff", "webp", "avif"],
    "extension_matches": True,
    "colour_space": True,
    "min_side_px": 10,
}


def findings(data, context=None, **must):
    """Return the findings by the name of the check."""
    checks = Checks.model_validate({"must": must})
    return {found.check: found for found in check(data, checks, context or Context())}


def one(data, **must):
    (found,) = findings(data, **must).values()
    return found


@pytest.mark.parametrize("name", ["gif", "bmp", "png", "tiff", "webp", "avif", "jpg"])
def test_files_of_other_programs_can_be_checked(name):
    found = findings(foreign.written(name, WHITE), Context(extension=name), **MUST)

    assert found["formats"].value == name
    assert found["extension_matches"].state == "passed"
    assert found["colour_space"].state == "passed"
    assert found["min_side_px"].value == "80x60"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (foreign.cmyk_jpeg(WHITE, {}), "CMYK"),
        (foreign.written("png", WHITE, bits=16), "16 bits"),
        (foreign.written("tiff", WHITE, bits=16), "16 bits"),
        (foreign.written("avif", WHITE, bits=10), "10 bits"),
        (encoded(WHITE[..., 0], "JPEG"), "grey"),
        (encoded(WHITE[..., 0], "PNG", "1"), "black and white"),
        (
            foreign.written("jpg", WHITE, tags={foreign.EXIF_IFD: {40965: {1: "R03"}}}),
            "Adobe RGB",
        ),
        (foreign.written("jpg", WHITE, profile=ADOBE_RGB), "synthetic"),
        (foreign.written("webp", WHITE, profile=DISPLAY_P3), "synthetic"),
        (foreign.written("jpg", WHITE, profile=b"nothing"), "damaged profile"),
        (png(WHITE, chunks=[(b"cICP", bytes([12, 13, 0, 1]))]), "rmbg"),
    ],
    ids=[
        *("cmyk", "png-16", "tiff-16", "avif-10", "grey", "one-bit", "dcf"),
        *("adobe", "p3", "damaged", "cicp"),
    ],
)
def test_colour_spaces_of_other_files_are_named(data, value):
    found = one(data, colour_space=True)

    assert (found.state, found.value) == ("failed", value)


def test_a_palette_counts_as_rgb():
    assert one(encoded(photo(), "PNG", "P"), colour_space=True).state == "passed"


@pytest.mark.parametrize("name", ["jpg", "png", "webp", "tiff", "avif", "gif", "bmp"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_truncated_file_cannot_be_read(name, kept):
    data = foreign.written(name, photo())

    with pytest.raises(UndecodableImage, match=r".+"):
        findings(data[: int(len(data) * kept)], no_transparency=True)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UndecodableImage),
        (b"<html>", UndecodableImage),
        (b"PK\x03\x04 no archive", UndecodableImage),
        (b"8BPS\0\1", UnsupportedImage),
    ],
)
def test_what_is_no_image_cannot_be_read(data, error):
    with pytest.raises(error):
        findings(data, no_transparency=True)


def test_a_file_over_a_limit_is_not_decoded():
    checks = Checks.model_validate({"must": {"max_bytes": 1}})
    data = encode(WHITE, Encoding(format="jpg"))

    with pytest.raises(ImageTooLarge):
        check(data, checks, Context(), limits=Limits(max_pixels=100))


def test_a_progressive_jpeg_that_lacks_its_last_scans_cannot_be_read():
    data = encoded(photo(), "JPEG", progressive=True)

    with pytest.raises(UndecodableImage, match="truncated"):
        findings(data[: data.rindex(b"\xff\xda")], no_transparency=True)


def test_a_jpeg_of_too_many_scans_is_not_decoded():
    data = encoded(photo(64, 64), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")

    with pytest.raises(ImageTooLarge, match="scans"):
        findings(data[:at] + data[at:-2] * 200 + b"\xff\xd9", no_transparency=True)


def test_a_profile_of_srgb_passes_whoever_made_it():
    data = foreign.written("jpg", WHITE, profile=icc.rgb_profile(icc.SRGB))

    assert one(data, colour_space=True).state == "passed"
