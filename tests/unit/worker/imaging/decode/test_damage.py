"""Damage: refused or noted, never passed off as good; and what is no damage is read."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from support.icc import DISPLAY_P3, rgb_profile
from support.photographs import photograph
from support.pictures import as_image, encoded, photo, png, png_chunk, ycck_jpeg

from shared.errors import UndecodableImage
from shared.job.options import PictureOptions
from shared.job.thresholds import DEFAULTS
from worker.imaging.decode import DecodedImage, Limits, decode
from worker.imaging.decode.isolated.decoder import IsolatedDecoder
from worker.imaging.decode.jpeg_steps import DOUBT
from worker.imaging.operations import ImageOperations

LIMITS = Limits()
FILES = Path(__file__).parents[4] / "support" / "files"
END_LEFT_OUT = "the end marker is missing; all pixels are there"
TEXT = (b"tEXt", b"Title\0shirt")


def pixels_at(jpeg: bytes) -> int:
    start = jpeg.rindex(b"\xff\xda")
    return start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")


def with_wrong_checksum(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind) - 4
    check = at + 8 + struct.unpack_from(">I", data, at)[0]
    return data[:check] + bytes([data[check] ^ 0xFF]) + data[check + 1 :]


def with_late_text(data: bytes) -> bytes:
    return data[:-12] + png_chunk(*TEXT) + data[-12:]


def outcome(data: bytes, truncated: str = "fail") -> DecodedImage | str:
    try:
        return decode(data, LIMITS, truncated=truncated)
    except UndecodableImage as err:
        return str(err)


@pytest.mark.parametrize("truncated", ["fail", "accept"])
@pytest.mark.parametrize(
    "data",
    [png(photo(), chunks=[TEXT]), with_late_text(encoded(photo(), "PNG"))],
    ids=["before the pixels", "after the pixels"],
)
def test_a_wrong_checksum_in_a_text_of_a_png_is_noted_and_does_no_harm(data, truncated):
    decoded = decode(with_wrong_checksum(data, b"tEXt"), LIMITS, truncated=truncated)

    assert np.array_equal(decoded.image, photo())
    assert decoded.notes == ("wrong checksum in tEXt; left out",)
    assert decoded.doubts == ()


def test_a_transparent_colour_with_a_wrong_checksum_is_used_and_doubted():
    pixels = photo()
    key = struct.pack(">HHH", *map(int, pixels[5, 7]))
    data = with_wrong_checksum(png(pixels, chunks=[(b"tRNS", key)]), b"tRNS")

    decoded = decode(data, LIMITS)

    assert decoded.alpha is not None
    assert decoded.alpha[5, 7] == 0
    assert decoded.doubts == ("wrong checksum in tRNS; used all the same",)
    assert decoded.doubts[0] in decoded.notes


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_in_the_header_or_palette_of_a_png_is_refused(kind):
    data = encoded(photo(), "PNG") if kind == b"IHDR" else encoded(_palette(), "PNG")

    for truncated in ("fail", "accept"):
        assert "checksum" in outcome(with_wrong_checksum(data, kind), truncated)


def test_a_wrong_checksum_in_the_pixels_of_a_png_is_refused_or_doubted():
    data = with_wrong_checksum(encoded(photo(), "PNG"), b"IDAT")

    accepted = decode(data, LIMITS, truncated="accept")

    assert "wrong checksum in IDAT" in outcome(data)
    assert accepted.doubts == ("wrong checksum in IDAT: pixels may be wrong",)


def _palette():
    return as_image(photo()).quantize(16)


@pytest.mark.parametrize("lost", [1, 4, 5, 8, 11, 12, 13, 16])
@pytest.mark.parametrize("truncated", ["fail", "accept"])
def test_a_png_whose_pixels_are_whole_is_accepted_without_its_end(lost, truncated):
    data = encoded(photo(), "PNG")

    decoded = decode(data[:-lost], LIMITS, truncated=truncated)

    assert np.array_equal(decoded.image, photo())
    assert decoded.notes == ("the end chunk is missing; all pixels are there",)
    assert decoded.doubts == ()


@pytest.mark.parametrize("lost", range(1, 12 + 12 + 11 + 1))
def test_a_png_cut_anywhere_after_its_pixels_is_accepted(lost):
    data = with_late_text(encoded(photo(), "PNG"))

    decoded = decode(data[:-lost], LIMITS, truncated="accept")

    assert np.array_equal(decoded.image, photo())
    assert "the end chunk is missing; all pixels are there" in decoded.notes


def test_a_truncated_png_is_doubted_when_accepted():
    data = encoded(photo(), "PNG")

    decoded = decode(data[: len(data) // 2], LIMITS, truncated="accept")

    assert decoded.doubts == ("file is truncated; part of the pixels is missing",)


@pytest.mark.parametrize("name", ["arithmetic.jpg", "arithmetic-progressive.jpg"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["no end marker", "an end marker"])
def test_a_jpeg_in_arithmetic_coding_that_is_cut_is_refused(name, share, end):
    """Its decoder reads zeros after the end of the file and never warns."""
    data = (FILES / name).read_bytes()
    data = data[: int(len(data) * share)] + end

    accepted = decode(data, LIMITS, truncated="accept")

    assert "JPEG: " in outcome(data)
    assert accepted.doubts
    assert not any("all pixels are there" in note for note in accepted.notes)


@pytest.mark.parametrize("name", ["arithmetic.jpg", "arithmetic-progressive.jpg"])
def test_a_jpeg_in_arithmetic_coding_that_lacks_only_its_end_marker_is_complete(name):
    data = (FILES / name).read_bytes()

    decoded = decode(data[:-2], LIMITS)

    assert np.array_equal(decoded.image, decode(data, LIMITS).image)
    assert decoded.notes == (END_LEFT_OUT,)
    assert decode(data, LIMITS).notes == ()


def test_a_progressive_jpeg_that_ends_between_two_scans_is_truncated():
    """No decoder warns: the first scans are complete, and the others never begin."""
    data = encoded(photo(), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xc4"][1:]

    for at in scans:
        if data[:at].count(b"\xff\xda"):
            assert "JPEG: file is truncated" in outcome(data[:at])


def test_a_jpeg_without_one_of_its_colours_is_refused():
    """Each component has its own scan; the last one is missing, the end marker is not."""
    data = (FILES / "one-scan-each.jpg").read_bytes()
    last = data.rindex(b"\xff\xda")

    assert decode(data, LIMITS).notes == ()
    assert "a colour channel is missing" in outcome(data[:last] + b"\xff\xd9")


def damaged_jpegs(count: int, **options):
    """Yield a whole JPEG, and a copy with 4 bytes of its pixels overwritten."""
    chance = random.Random(624)
    whole = [encoded(photograph(name), "JPEG", **options) for name in ("coffee", "flower", "cat")]
    for _ in range(count):
        data = chance.choice(whole)
        at = chance.randrange(pixels_at(data), len(data) - 6)
        yield data, data[:at] + chance.randbytes(4) + data[at + 4 :]


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 135 / 195), ({"progressive": True}, 0.4)],
    ids=["baseline", "progressive"],
)
def test_most_jpegs_with_overwritten_pixels_are_noted_and_reviewed(options, share):
    """In a progressive file, damage in the details of one component is often not found."""
    visible = noted = 0
    for whole, damaged in damaged_jpegs(60, **options):
        decoded = outcome(damaged, "accept")
        if isinstance(decoded, str):
            continue  # refused
        before = decode(whole, LIMITS)
        assert before.notes == ()
        if _is_visible(decoded.image, before.image):
            visible += 1
            noted += bool(decoded.doubts)

    assert visible > 20
    assert noted >= visible * share


def test_what_the_decoder_warns_of_is_refused_unless_damage_is_accepted():
    refused = 0
    for _, damaged in damaged_jpegs(30):
        strict, lenient = outcome(damaged), outcome(damaged, "accept")
        if isinstance(strict, str) and isinstance(lenient, DecodedImage):
            refused += 1
            assert strict.startswith("JPEG: the pixel data is damaged: it ")
            assert strict.endswith("; replace the file, or submit it with --truncated accept")
            assert lenient.doubts[0] in strict
        elif isinstance(strict, DecodedImage):
            assert strict.doubts in {(), (DOUBT,)}

    assert refused >= 10


@pytest.mark.parametrize("kind", ["profile", "cmyk", "ycck", "grey"])
def test_damage_is_noted_in_every_kind_of_jpeg(kind):
    pixels = photo(320, 240)
    inks = np.dstack([pixels, pixels[..., 0]])
    data = {
        "profile": encoded(pixels, "JPEG", icc_profile=rgb_profile(DISPLAY_P3)),
        "cmyk": encoded(inks, "JPEG", "CMYK"),
        "ycck": ycck_jpeg(inks),
        "grey": encoded(pixels[..., 0], "JPEG"),
    }[kind]
    middle = (pixels_at(data) + len(data)) // 2

    damaged = decode(data[:middle] + data[middle + 400 :], LIMITS, truncated="accept")

    assert decode(data, LIMITS).doubts == ()
    assert damaged.doubts


def test_a_change_of_colour_within_a_row_of_blocks_is_doubted():
    """The decoder does not notice; the image is too bright from one block on."""
    pixels = photo(480, 320)
    pixels[16 * 7 : 16 * 8, 16 * 12 :] //= 2
    pixels[16 * 8 :] //= 2

    decoded = decode(encoded(pixels, "JPEG", quality=95, subsampling=2), LIMITS)

    assert decoded.notes == decoded.doubts == (DOUBT,)


@pytest.mark.parametrize("column", [0, 480])
def test_an_edge_over_the_whole_width_is_no_damage(column):
    pixels = photo(480, 320)
    pixels[16 * 7 : 16 * 8, column:] //= 2
    pixels[16 * 8 :] //= 2

    assert decode(encoded(pixels, "JPEG", quality=95), LIMITS).notes == ()


def test_bars_of_text_on_the_grid_of_blocks_are_no_damage():
    pixels = photo(480, 320)
    pixels[16 * 7 : 16 * 8, 16 * 12 :] //= 2
    pixels[16 * 8 : 16 * 9] //= 2

    assert decode(encoded(pixels, "JPEG", quality=95, subsampling=2), LIMITS).notes == ()


def _is_visible(after, before) -> bool:
    difference = np.abs(after.astype(int) - before).max(axis=2)
    return bool((difference > 8).mean() > 0.002)


def jpeg_with(segment: bytes) -> bytes:
    data = encoded(photo(), "JPEG")
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + segment + data[at:]


IRREGULAR = {
    "stray bytes in the header": jpeg_with(b"stray bytes"),
    "padding before the end": encoded(photo(), "JPEG")[:-2] + bytes(64) + b"\xff\xd9",
    "an unknown version of JFIF": encoded(photo(), "JPEG").replace(b"JFIF\0\1", b"JFIF\0\7"),
    "a damaged profile": jpeg_with(b"\xff\xe2\0\x14ICC_PROFILE\0\7\1abcd"),
}


@pytest.mark.parametrize("data", IRREGULAR.values(), ids=IRREGULAR)
def test_an_irregular_jpeg_whose_pixels_are_whole_is_accepted_without_a_doubt(data):
    decoded = decode(data, LIMITS)

    assert np.array_equal(decoded.image, decode(encoded(photo(), "JPEG"), LIMITS).image)
    assert "irregular header or padding; all pixels are there" in decoded.notes
    assert decoded.doubts == ()


def test_a_jpeg_that_the_fast_decoder_does_not_support_is_read():
    """Three samples of luma for one of colour: Pillow reads it, and no warning is known."""
    data = (FILES / "unusual-sampling.jpg").read_bytes()

    assert decode(data, LIMITS).notes == ()
    assert "truncated" in outcome(data[: len(data) // 2])
    assert decode(data[: len(data) // 2], LIMITS, truncated="accept").doubts


@pytest.mark.parametrize("tail", [b"\0" * 100, b"appended", b"\xff\xd8\xff\xe1\0\4ab"])
def test_what_follows_the_end_marker_is_ignored(tail):
    assert decode(encoded(photo(), "JPEG") + tail, LIMITS).notes == ()


def test_a_doubt_makes_the_verdict_a_review():
    operations = ImageOperations(max_pixels=10**6, max_bytes=10**6, children=1)
    mask = np.zeros((100, 100), np.uint8)
    mask[25:75, 25:75] = 255
    data = encoded(photo(100, 100), "PNG")
    options = PictureOptions(truncated="accept")

    source = operations.decode(data[: len(data) // 2], options, isolate=False).source(
        keep_alpha=True
    )
    figures = operations.measure(mask, 0.0, 1.0, DEFAULTS, source.doubts)

    assert operations.measure(mask, 0.0, 1.0, DEFAULTS)["verdict"] == "ok"
    assert figures["verdict"] == "review"
    assert figures["reasons"] == "file is truncated; part of the pixels is missing"


def test_doubts_pass_from_the_isolated_decoder():
    data = encoded(photo(), "PNG")
    isolated = IsolatedDecoder(LIMITS, children=1)
    try:
        decoded = isolated.decode(data[: len(data) // 2], truncated="accept")
    finally:
        isolated.close()

    assert decoded.doubts == ("file is truncated; part of the pixels is missing",)
