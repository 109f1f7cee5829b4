"""PNG files as the worker writes them: levels, text chunks, sizes."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from support.photographs import photograph

from shared.job.png_text import png_texts
from worker.imaging.compose import compose
from worker.imaging.encode.png import encode_png


def cutout(side_px=420):
    """Return a disc with a soft edge, cut out of a photograph, and its mask."""
    y, x = np.mgrid[:side_px, :side_px] - side_px / 2
    mask = np.clip((0.4 * side_px - np.hypot(x, y)) * 60 + 128, 0, 255).astype(np.uint8)
    image = np.ascontiguousarray(photograph("flower")[:side_px, 100 : 100 + side_px])
    return compose(image, mask), mask


def studio_photo(grain, side_px=900):
    """Return the cutout of a shaded disc with camera grain of this strength, from a JPEG."""
    y, x = np.mgrid[:side_px, :side_px] - side_px / 2
    shade = 120 + 80 * np.cos(x / 350)[..., None] * [1, 0.8, 0.6]
    noise = np.random.default_rng(0).normal(0, grain, shade.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    mask = np.clip((0.4 * side_px - np.hypot(x, 0.8 * y)) * 20 + 128, 0, 255).astype(np.uint8)
    return compose(np.array(Image.open(file)), mask)


def decoded(file):
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image)


@pytest.mark.parametrize("level", ["fast", "small"])
def test_both_levels_keep_every_pixel_of_cutout_and_mask(level):
    for pixels in cutout():
        assert np.array_equal(decoded(encode_png(pixels, texts={}, level=level)), pixels)


def test_small_is_at_most_as_large_as_pillows_level_6_and_fast_at_most_a_quarter_larger():
    pixels, _ = cutout()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)

    assert len(encode_png(pixels, texts={}, level="small")) <= file.tell()
    assert len(encode_png(pixels, texts={}, level="fast")) <= 1.25 * file.tell()


@pytest.mark.parametrize("grain", [0, 1, 2, 3, 5])
def test_fast_is_at_most_a_quarter_larger_than_pillows_level_6_for_any_grain(grain):
    """ISA-L alone would be 1.3 to 1.5 times as large on the smooth surfaces of a studio photo."""
    pixels = studio_photo(grain)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)

    fast = encode_png(pixels, texts={}, level="fast")

    assert np.array_equal(decoded(fast), pixels)
    assert len(fast) <= 1.25 * file.tell()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50, 4), (5, 3), (9, 9, 4), (40, 1)])
def test_images_with_fewer_rows_than_a_sample_strip_keep_every_pixel(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    assert np.array_equal(decoded(encode_png(pixels, texts={}, level="fast")), pixels)


def test_column_major_pixels_are_written_row_by_row():
    _, mask = cutout(90)
    turned = np.asfortranarray(mask)

    assert encode_png(turned, texts={}, level="fast") == encode_png(mask, texts={}, level="fast")


def test_the_same_pixels_give_the_same_bytes_in_any_thread():
    """Writing an output again must not change its ETag."""
    pixels, _ = cutout(300)

    with ThreadPoolExecutor(4) as pool:
        files = set(
            pool.map(lambda _: encode_png(pixels, texts={"a": "b"}, level="fast"), range(8))
        )

    assert len(files) == 1


def test_text_chunks_are_those_of_the_node_and_rmbg():
    texts = png_texts({"3": {"class_type": "x"}}, {"workflow": {"n": "é切"}}, {"model": "m"})

    file = encode_png(np.zeros((2, 2), np.uint8), texts=texts, level="fast")

    with Image.open(io.BytesIO(file)) as image:
        assert {key: json.loads(text) for key, text in image.text.items()} == {
            "prompt": {"3": {"class_type": "x"}},
            "workflow": {"n": "é切"},
            "rmbg": {"model": "m"},
        }


def test_without_prompt_the_only_chunk_is_rmbg():
    assert png_texts(None, None, {"model": "m"}) == {"rmbg": '{"model": "m"}'}


def test_extra_pnginfo_cannot_replace_prompt_or_rmbg():
    texts = png_texts({"a": 1}, {"rmbg": 0, "prompt": 0, "workflow": 2}, {"model": "m"})

    assert texts == {"prompt": '{"a": 1}', "workflow": "2", "rmbg": '{"model": "m"}'}
