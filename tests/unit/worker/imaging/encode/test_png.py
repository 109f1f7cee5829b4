"""The PNG writer, checked against the specification and other readers."""

import functools
import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidOption
from worker.imaging.encode import png, png_filters
from worker.imaging.types import SourceMetadata


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def written(pixels, texts=None, row_filter=png_filters.up) -> bytes:
    return png.write(pixels, texts=texts or {}, row_filter=row_filter, deflate=zlib.compressobj(1))


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and body of every chunk, after checking its checksum with zlib."""
    assert file.startswith(png.SIGNATURE)
    found, at = [], len(png.SIGNATURE)
    while at < len(file):
        (size,) = struct.unpack_from(">I", file, at)
        kind, body = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", file, at + 8 + size)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + size
    return found


def read_by_pillow(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image)


def read_by_libpng(file: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, order[pixels.shape[2]])


FILTERS = [png_filters.up, png_filters.adaptive]
SHAPES = [(1, 1), (1, 700), (700, 1), (2, 3), (333, 517), (90, 3000)]


@pytest.mark.parametrize("row_filter", FILTERS)
@pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=["grey", "rgb", "rgba"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_other_readers_decode_the_same_pixels(shape, channels, row_filter, rng):
    pixels = rng.integers(0, 256, (*shape, *channels), np.uint8)

    file = written(pixels, row_filter=row_filter)

    assert np.array_equal(read_by_pillow(file), pixels)
    assert np.array_equal(read_by_libpng(file), pixels)


@pytest.mark.parametrize("row_filter", FILTERS)
def test_bands_of_any_size_give_the_same_pixels(row_filter, rng):
    """The last band may be short, and a row may be larger than a band."""
    for band_bytes, shape in itertools.product(
        (100, 1000, 5000), ((100, 40, 4), (101, 40, 4), (5, 400, 4), (24, 41))
    ):
        banded = functools.partial(row_filter, band_bytes=band_bytes)
        pixels = rng.integers(0, 256, shape, np.uint8)

        assert np.array_equal(read_by_pillow(written(pixels, row_filter=banded)), pixels)


@pytest.mark.parametrize("channels", [(3,), (4,)], ids=["rgb", "rgba"])
def test_colours_are_declared_as_srgb(channels):
    file = written(np.zeros((2, 2, *channels), np.uint8))

    with Image.open(io.BytesIO(file)) as image:
        assert image.info["srgb"] == 0


def test_a_mask_has_no_colour_space():
    """Its values are no colours."""
    assert b"sRGB" not in dict(chunks(written(np.zeros((2, 2), np.uint8))))


@pytest.mark.parametrize("channels", [(), (4,)], ids=["grey", "rgba"])
def test_resolution_copyright_and_author_of_the_source_are_written(channels):
    kept = SourceMetadata(dpi=(300, 150), copyright="© 2026 Zoë", author="切")

    file = png.encode_png(
        np.zeros((2, 2, *channels), np.uint8), texts={"a": "b"}, level="fast", metadata=kept
    )

    with Image.open(io.BytesIO(file)) as image:
        assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)
        assert image.text == {"a": "b", "Copyright": "© 2026 Zoë", "Author": "切"}


def test_a_text_of_the_job_replaces_that_of_the_source():
    kept = SourceMetadata(copyright="theirs")

    file = png.encode_png(
        np.zeros((2, 2), np.uint8), texts={"Copyright": "ours"}, level="fast", metadata=kept
    )

    assert [body for kind, body in chunks(file) if kind == b"tEXt"] == [b"Copyright\0ours"]


@pytest.mark.parametrize("dpi", [(1e-9, 300), (300, 1e12)], ids=str)
def test_a_resolution_that_a_png_cannot_hold_is_left_out(dpi):
    file = png.encode_png(
        np.zeros((2, 2), np.uint8), texts={}, level="fast", metadata=SourceMetadata(dpi=dpi)
    )

    assert b"pHYs" not in dict(chunks(file))


def test_the_adaptive_filter_picks_the_best_filter_for_each_row():
    """It is "Sub" for ramps along a row, "Up" for repeated noise, "None" for black rows."""
    noise = np.random.default_rng(0).integers(0, 256, 400).astype(np.uint8)
    ramp = (np.arange(400) * 3 % 256).astype(np.uint8)
    rows = np.stack([np.zeros(400, np.uint8), noise, noise, ramp, np.zeros(400, np.uint8)])

    kinds = np.concatenate([band[:, 0].copy() for band in png_filters.adaptive(rows, 1)])

    assert kinds[[0, 2, 3, 4]].tolist() == [0, 2, 1, 0]


def test_pixels_that_are_not_contiguous_are_written_correctly(rng):
    pixels = rng.integers(0, 256, (50, 80, 4), np.uint8)

    assert np.array_equal(read_by_pillow(written(pixels[::2, ::-3])), pixels[::2, ::-3])


def test_the_chunks_follow_the_specification(rng):
    file = written(rng.integers(0, 256, (7, 9, 4), np.uint8), {"a": "b"})

    kinds = [kind for kind, _ in chunks(file)]
    header = chunks(file)[0][1]
    assert kinds == [b"IHDR", b"sRGB", b"tEXt", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", header) == (9, 7, 8, 6, 0, 0, 0)


def test_pillow_reads_the_texts_in_order():
    texts = {"prompt": '{"a": 1}', "Füße": "grün", "workflow": "切り抜き", "empty": ""}

    with Image.open(io.BytesIO(written(np.zeros((2, 2), np.uint8), texts))) as image:
        assert list(image.text.items()) == list(texts.items())


def test_latin_1_text_is_written_as_text_and_other_text_as_itxt():
    file = written(np.zeros((2, 2), np.uint8), {"a": "grün", "b": "切"})

    assert dict(chunks(file)[1:3]) == {
        b"tEXt": b"a\0" + "grün".encode("latin-1"),
        b"iTXt": b"b\0\0\0\0\0" + "切".encode(),
    }


def test_a_prompt_of_a_megabyte_is_written():
    text = "x" * 1_000_000

    with Image.open(io.BytesIO(written(np.zeros((2, 2), np.uint8), {"prompt": text}))) as image:
        assert image.text["prompt"] == text


@pytest.mark.parametrize(
    "keyword",
    ["", "k" * 80, " a", "a ", "a  b", "切", "a\0b", "a\nb", "a\x7f", "a\xa0b"],
    ids=repr,
)
def test_a_keyword_that_png_does_not_allow_is_rejected(keyword):
    with pytest.raises(InvalidOption, match="1 to 79"):
        png.text_chunk(keyword, "text")


def test_a_keyword_of_79_characters_is_allowed():
    assert b"".join(png.text_chunk("k" * 79, "")).count(b"k") == 79


def test_a_text_with_a_nul_character_is_rejected_with_its_keyword():
    with pytest.raises(InvalidOption, match="'workflow'"):
        png.text_chunk("workflow", "a\0b")
