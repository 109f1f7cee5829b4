"""Images with alpha: it is separated, and colours hidden under alpha 0 are not shown."""

import struct

import numpy as np
import pytest
from support.pictures import as_image, encoded, plain, png, quadrants, tiff

from worker.imaging.decode import Limits, decode

LIMITS = Limits()
CARRIERS = {
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True, "exact": True}),
    "tiff": ("TIFF", {}),
}


def soft_alpha(width=48, height=32):
    return np.linspace(0, 255, width).astype(np.uint8) * np.ones((height, 1), np.uint8)


@pytest.mark.parametrize(("image_format", "options"), CARRIERS.values(), ids=CARRIERS)
def test_alpha_and_straight_colours_are_exact(image_format, options):
    alpha = soft_alpha()

    decoded = decode(encoded(np.dstack([quadrants(), alpha]), image_format, **options), LIMITS)

    assert np.array_equal(decoded.alpha, alpha)
    assert np.array_equal(decoded.straight, quadrants())
    for array in (decoded.alpha, decoded.straight, decoded.image):
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_an_image_is_flattened_on_white():
    """At alpha 128 a colour is halfway to white."""
    decoded = decode(encoded(plain((200, 100, 50, 128)), "PNG"), LIMITS)

    assert np.abs(decoded.image[8, 8] - np.array([227.4, 177.2, 152.1])).max() <= 1
    assert decoded.notes == ("has alpha; flattened on white",)


def test_a_bright_subject_is_flattened_on_grey():
    """A white product would not stand out against white."""
    pixels = plain((250, 250, 250, 255))
    pixels[:, :8] = 0

    decoded = decode(encoded(pixels, "PNG"), LIMITS)

    assert decoded.image[8, 2].tolist() == [128, 128, 128]
    assert decoded.image[8, 12].tolist() == [250, 250, 250]
    assert decoded.notes == ("has alpha; flattened on grey",)


def test_a_colour_under_alpha_0_is_not_flattened_in():
    pixels = plain((0, 0, 0, 255))
    pixels[:, :8] = 255, 0, 255, 0

    decoded = decode(encoded(pixels, "PNG"), LIMITS)

    assert decoded.image[8, 2].tolist() == [255, 255, 255]


def test_a_fully_transparent_image_flattens_to_white():
    decoded = decode(encoded(plain((9, 9, 9, 0)), "PNG"), LIMITS)

    assert not decoded.alpha.any()
    assert (decoded.image == 255).all()


def test_a_fully_opaque_alpha_is_dropped():
    decoded = decode(encoded(plain((9, 9, 9, 255)), "PNG"), LIMITS)

    assert decoded.alpha is None
    assert decoded.straight is None
    assert decoded.notes == ()


KEY = np.array([[0, 255], [255, 0]], np.uint8)
COLOURS = np.where(KEY[..., None] > 0, np.uint8(90), np.uint8((10, 20, 30)))
DEEP = COLOURS.astype(np.uint16) * 256 + 3
KEYED = {
    "png-grey": png(np.where(KEY > 0, 90, 7).astype(np.uint8), chunks=[(b"tRNS", b"\0\x07")]),
    "png-grey-16-bits": png(
        np.where(KEY > 0, 90 * 257, 7).astype(np.uint16), chunks=[(b"tRNS", b"\0\x07")]
    ),
    "png-rgb": png(COLOURS, chunks=[(b"tRNS", b"\0\x0a\0\x14\0\x1e")]),
    "png-rgb-16-bits": png(DEEP, chunks=[(b"tRNS", b"\x0a\x03\x14\x03\x1e\x03")]),
}


def palette_with_transparency():
    image = as_image(np.where(KEY > 0, 1, 0).astype(np.uint8))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 90, 90, 90])
    return image


KEYED["png-palette"] = encoded(palette_with_transparency(), "PNG", transparency=0)
KEYED["png-palette-many-alphas"] = encoded(
    palette_with_transparency(), "PNG", transparency=b"\x00\xff"
)
KEYED["gif"] = encoded(palette_with_transparency(), "GIF", transparency=0)


@pytest.mark.parametrize("data", KEYED.values(), ids=KEYED)
def test_a_transparent_colour_becomes_alpha_0(data):
    decoded = decode(data, LIMITS)

    assert np.array_equal(decoded.alpha, KEY)
    assert (decoded.straight[KEY > 0] == 90).all()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_every_level_of_a_grey_png_can_be_the_transparent_one(bits, interlaced):
    top = 2**bits - 1
    for key in sorted({0, 1, top // 3, top // 2, top - 1, top}):
        levels = (np.arange(160).reshape(8, 20) * max(1, top // 159) + key) % (top + 1)
        samples = levels.astype(np.uint16 if bits == 16 else np.uint8)
        transparent = [(b"tRNS", struct.pack(">H", key))]

        decoded = decode(png(samples, bits=bits, interlaced=interlaced, chunks=transparent), LIMITS)

        assert np.array_equal(decoded.alpha, np.where(samples == key, 0, 255)), key


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [[0], [128], [255, 0], [16, 32]], ids=str)
def test_every_entry_of_a_png_palette_has_its_alpha(bits, alphas):
    entries = 2**bits
    samples = (np.arange(160).reshape(8, 20) % entries).astype(np.uint8)
    palette = np.arange(3 * entries).astype(np.uint8)
    chunks = [(b"PLTE", palette.tobytes()), (b"tRNS", bytes(alphas))]

    decoded = decode(png(samples, bits=bits, colour=3, chunks=chunks), LIMITS)

    expected = np.array((alphas + [255] * entries)[:entries])
    assert np.array_equal(decoded.alpha, expected[samples])
    assert np.array_equal(decoded.straight, palette.reshape(-1, 3)[samples])


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_16_bit_colour_is_transparent_only_where_all_of_its_bits_are_equal(interlaced):
    """Its high bytes are those of many other colours."""
    samples = np.full((4, 4, 3), (1000, 2000, 3000), np.uint16)
    samples[0, 0, 2] += 1
    samples[1, 1, 0] -= 1
    samples[3] = 50_000
    transparent = [(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))]

    decoded = decode(png(samples, interlaced=interlaced, chunks=transparent), LIMITS)

    assert np.array_equal(decoded.alpha == 0, (samples == (1000, 2000, 3000)).all(axis=-1))


def test_bits_of_a_transparent_colour_beyond_the_depth_are_ignored():
    """The specification of PNG demands it (11.3.2.1)."""
    transparent = [(b"tRNS", b"\x01\x0a\xff\x14\x80\x1e")]

    assert np.array_equal(decode(png(COLOURS, chunks=transparent), LIMITS).alpha, KEY)


def test_a_16_bit_transparent_colour_that_no_pixel_has_leaves_the_image_opaque():
    transparent = [(b"tRNS", b"\x0a\x04\x14\x03\x1e\x03")]

    assert decode(png(DEEP, chunks=transparent), LIMITS).alpha is None


def test_16_bit_colours_and_alpha_become_8_bit():
    samples = np.full((4, 4, 4), (65535, 32768, 300, 32768), np.uint16)

    decoded = decode(png(samples), LIMITS)

    assert decoded.straight[1, 1].tolist() == [255, 128, 1]
    assert (decoded.alpha == 128).all()


def test_premultiplied_colours_of_a_tiff_become_straight():
    """ExtraSamples 1: (100, 50, 25) at alpha 128 was (200, 100, 50)."""
    data = tiff(plain((100, 50, 25, 128)), photometric=2, tags={338: 1})

    decoded = decode(data, LIMITS)

    assert np.abs(decoded.straight[8, 8].astype(int) - (199, 99, 49)).max() <= 1
    assert (decoded.alpha == 128).all()
