"""Reasons for the owner of a file, without words of the decoder libraries."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from shared.errors import ItemError
from worker.imaging.decode import Limits, decode
from worker.imaging.decode.reasons import plain_words

LIMITS = Limits()
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
WORDS = {
    *("image file is truncated", "image data is damaged", "the header is damaged"),
    "image data is damaged; a checksum does not match",
    "compression of this kind is not supported; save the image without it",
    "this number of bits per sample is not supported; save the image with 8",
    "samples of this kind are not supported; save the image as grey, RGB or CMYK with 8 or 16 bits",
    "this variant of the format is not supported",
    "no image size in the header",
}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("decoder error -2", "image data is damaged"),
        ("-2", "image data is damaged"),
        ("broken data stream when reading image file", "image data is damaged"),
        ("could not create decoder object", "image data is damaged"),
        ("image file is truncated (23 bytes not processed)", "image file is truncated"),
        ("Truncated File Read", "image file is truncated"),
        ("unpack_from requires a buffer of at least 4 bytes", "image file is truncated"),
        ("broken PNG file (bad header checksum in b'IHDR')", "a checksum does not match"),
        ("Missing dimensions", "the header is damaged"),
        ("not identified by this driver", "the header is damaged"),
        ("Failed to decode image: BMFF parsing failed", "the header is damaged"),
        ("Unsupported BMP compression (14)", "compression of this kind is not supported"),
        ("cannot handle 12-bit layers", "number of bits per sample is not supported"),
        ("cannot handle 2-layer images", "variant of the format is not supported"),
        ("IndexError", "image data is damaged"),
    ],
)
def test_messages_of_decoders_are_said_in_plain_words(message, words):
    assert words in plain_words(message)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_reasons_of_damaged_files_are_plain_words(image_format):
    """Whatever a library says, its own words are in the cause only."""
    stream, rng = io.BytesIO(), random.Random(7)
    Image.fromarray(PIXELS).save(stream, image_format)
    reasons = set()
    for _ in range(150):
        data = bytearray(stream.getvalue())
        reach = min(len(data), rng.choice([60, 300, 10**9]))
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.randrange(4, reach)] = rng.randrange(256)
        try:
            decode(bytes(data[: rng.choice([None, rng.randrange(8, len(data))])]), LIMITS)
        except ItemError as err:
            if err.__cause__ is not None:
                reasons.add(str(err).partition(": ")[2])

    assert reasons
    assert reasons <= WORDS
