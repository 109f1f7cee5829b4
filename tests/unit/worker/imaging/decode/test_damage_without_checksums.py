"""Damage in WebP, AVIF, HEIC, TIFF, GIF and BMP, which have no checksums that decoders check."""

import random
import struct

import numpy as np
import pytest
from support.photographs import photograph
from support.pictures import encoded, photo, plain, tiff

from shared.errors import UndecodableImage
from worker.imaging.decode import DecodedImage, Limits, decode, leftover, line_ends, tiff_strips

LIMITS = Limits()
LOSSY = {
    "WEBP": {"quality": 85},
    "AVIF": {"quality": 75, "speed": 9},
    "HEIF": {"quality": 75},
}
TRUNCATED = "file is truncated; part of the pixels is missing"
OFFSETS = 273


def outcome(data: bytes, truncated: str = "fail") -> DecodedImage | str:
    try:
        return decode(data, LIMITS, truncated=truncated)
    except UndecodableImage as err:
        return str(err)


def overwritten(data: bytes, count: int):
    """Yield copies with 4 bytes overwritten in the middle of the compressed pixels."""
    chance = random.Random(len(data))
    for _ in range(count):
        at = chance.randrange(len(data) // 5, len(data) * 4 // 5)
        yield data[:at] + chance.randbytes(4) + data[at + 4 :]


@pytest.mark.parametrize(("image_format", "share"), [("WEBP", 0.9), ("AVIF", 0.9), ("HEIF", 0.3)])
def test_most_files_with_overwritten_pixels_are_doubted_or_refused(image_format, share):
    data = encoded(photograph("cat"), image_format, **LOSSY[image_format])

    found = [outcome(copy) for copy in overwritten(data, 20)]

    doubted = [each for each in found if isinstance(each, str) or each.doubts == (leftover.DOUBT,)]
    assert len(doubted) >= share * len(found)
    assert any(not isinstance(each, str) for each in doubted)


@pytest.mark.parametrize("image_format", LOSSY)
@pytest.mark.parametrize(
    "pixels", [photograph("cat"), plain((255, 255, 255), 300, 200), photo(8, 8)]
)
def test_undamaged_files_are_not_doubted(image_format, pixels):
    decoded = decode(encoded(pixels, image_format, **LOSSY[image_format]), LIMITS)

    assert decoded.doubts == ()


def test_an_undamaged_image_with_an_empty_end_is_not_doubted():
    """The last symbols of its data stand for many pixels each."""
    pixels = photograph("cat").copy()
    pixels[100:] = 255

    for image_format, options in (*LOSSY.items(), ("WEBP", {"lossless": True})):
        assert decode(encoded(pixels, image_format, **options), LIMITS).doubts == ()


@pytest.mark.parametrize("image_format", ["WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"])
def test_converted_line_ends_are_doubted_or_refused(image_format):
    data = encoded(photograph("cat"), image_format, **LOSSY.get(image_format, {}))
    head = 700 if image_format != "BMP" else 60
    converted = data[:head] + data[head:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    found = outcome(converted)

    assert isinstance(found, str) or found.doubts


def test_every_line_feed_after_a_carriage_return_is_a_conversion():
    chance = random.Random(1)
    data = chance.randbytes(30_000)
    converted = data.replace(b"\r", b"").replace(b"\n", b"\r\n")

    def doubts(data, *, is_compressed=True):
        return line_ends.find_converted_line_ends(data, is_compressed=is_compressed).doubts

    assert doubts(converted) == doubts(converted, is_compressed=False) == (line_ends.DOUBT,)
    assert doubts(data.replace(b"\r", b"\n")) == (line_ends.DOUBT,)
    assert doubts(data.replace(b"\r", b"\n"), is_compressed=False) == ()
    assert doubts(data) == doubts(converted[:5_000]) == doubts(converted + b"\n") == ()


def strips_of(pixels, compression="raw", rows=16):
    return encoded(pixels, "TIFF", compression=compression, tiffinfo={278: rows})


def with_entry(data: bytes, tag: int, *, count=None, second=None) -> bytes:
    """Return a TIFF with another number of values of a tag, or another second value."""
    result = bytearray(data)
    (directory,) = struct.unpack_from("<I", result, 4)
    (entries,) = struct.unpack_from("<H", result, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        number, kind, _, place = struct.unpack_from("<HHII", result, entry)
        if number == tag and count is not None:
            struct.pack_into("<I", result, entry + 4, count)
        elif number == tag:
            form, size = {3: ("<H", 2), 4: ("<I", 4)}[kind]
            struct.pack_into(form, result, place + size, second)
    return bytes(result)


@pytest.mark.parametrize(
    ("change", "missing"), [({"count": 3}, "2 of 5"), ({"second": 0}, "1 of 5")]
)
def test_a_tiff_that_lacks_strips_is_refused_or_doubted(change, missing):
    reason = f"{missing} strips of pixels are missing"
    data = with_entry(strips_of(photo(64, 80)), OFFSETS, **change)

    assert outcome(data) == (
        f"TIFF: {reason}; replace the file, or submit it with --truncated accept"
    )
    assert outcome(data, "accept").doubts == (reason,)


def test_a_tiff_whose_strip_is_beyond_the_end_of_the_file_is_refused_or_doubted():
    data = with_entry(strips_of(photo(64, 80)), OFFSETS, second=10**6)

    assert outcome(data) == "TIFF: image file is truncated"
    assert outcome(data, "accept").doubts == (TRUNCATED,)


def test_deflated_tiffs_with_overwritten_pixels_are_refused_or_doubted():
    data = strips_of(photograph("cat"), "tiff_deflate", rows=1000)
    copies = list(overwritten(data, 20))

    assert all(isinstance(outcome(copy), str) for copy in copies)
    accepted = [outcome(copy, "accept") for copy in copies]
    doubts = [each.doubts for each in accepted if not isinstance(each, str)]
    assert doubts
    assert set(doubts) == {(tiff_strips.WRONG_CHECKSUM,)}


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_undamaged_strips_are_not_doubted(compression, rows):
    if compression == "jpeg" and rows % 8:
        rows = 8
    assert decode(strips_of(photo(50, 70), compression, rows), LIMITS).doubts == ()


def test_planes_and_deep_samples_are_not_doubted():
    for samples in (photo(), photo().astype(np.uint16) * 257, photo()[..., 0]):
        photometric = 2 if samples.ndim == 3 else 1
        assert decode(tiff(samples, photometric=photometric), LIMITS).doubts == ()
