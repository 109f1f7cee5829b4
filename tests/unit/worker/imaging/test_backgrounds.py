"""Decoded background images are kept, and never changed."""

import numpy as np
import pytest
from support.pictures import encoded, photo

from shared.errors import ImageTooLarge, UndecodableImage
from shared.recipes import Recipe
from shared.recipes.values import Size
from worker.imaging.backgrounds import Backgrounds
from worker.imaging.operations import ImageOperations
from worker.imaging.render import RenderSource, covering
from worker.imaging.types import NO_METADATA


class Decoder:
    """Decodes bytes to an image of 6 x 4 pixels in a colour that they say; counts."""

    def __init__(self):
        self.decoded = []
        self.error = None

    def __call__(self, data):
        self.decoded.append(data)
        if self.error:
            raise self.error
        return np.full((4, 6, 3), data[0], np.uint8)


@pytest.fixture
def decoder():
    return Decoder()


@pytest.fixture
def kept(decoder):
    return Backgrounds(decoder)


def test_an_image_is_decoded_once_and_covers_each_canvas(kept, decoder):
    for side in (2, 3, 2):
        covered = kept.cover("a", b"\x07")(Size(side, side))
        assert covered.shape == (side, side, 3)
        assert (covered == 7).all()

    assert decoder.decoded == [b"\x07"]
    assert kept.cover("a", b"\x07")(Size(2, 2)) is kept.cover("a", b"\x07")(Size(2, 2))


def test_what_is_kept_is_bounded_and_shared_without_being_changed(decoder):
    kept = Backgrounds(decoder, cached_px=30)

    covered = kept.cover("a", b"\x01")(Size(2, 2))
    with pytest.raises(ValueError, match="read-only"):
        covered[:] = 0
    kept.cover("b", b"\x02")
    kept.cover("b", b"\x02")
    kept.cover("a", b"\x01")

    assert decoder.decoded == [b"\x01", b"\x02", b"\x01"]


def test_bytes_that_are_no_image_are_tried_once_and_those_over_a_limit_again(kept, decoder):
    decoder.error = UndecodableImage("no image")
    for _ in range(2):
        with pytest.raises(UndecodableImage):
            kept.cover("a", b"\x01")
    decoder.error = ImageTooLarge("out of memory", bucket="", operation="")
    for _ in range(2):
        with pytest.raises(ImageTooLarge):
            kept.cover("b", b"\x02")

    assert decoder.decoded == [b"\x01", b"\x02", b"\x02"]


def test_an_output_on_an_image_is_a_pure_function_of_its_arguments():
    imaging = ImageOperations(max_pixels=10**6, max_bytes=10**6, children=1)
    pixels = np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    source = RenderSource(pixels, pixels, mask)
    recipe = Recipe(background="oak.png", format="png", size=30)
    wood = photo(90, 70, seed=3)
    try:
        cover = imaging.cover("a", encoded(wood, "PNG"))
        first, second = (
            imaging.make_output(recipe, source, NO_METADATA, cover).files[0] for _ in range(2)
        )
        assert first == second
        decoded = imaging._isolated.decode(first, truncated="fail").image
    finally:
        imaging.close()
    on_wood = covering(np.array(wood), Size(30, 30))
    assert (decoded[:5] == on_wood[:5]).all()
    assert (decoded[12:18, 12:18] == 200).all()


def test_transparent_parts_of_a_background_are_white():
    imaging = ImageOperations(max_pixels=10**6, max_bytes=10**6, children=1)
    image = np.full((8, 8, 4), 250, np.uint8)
    image[:, :4, 3] = 0
    try:
        covered = imaging.cover("a", encoded(image, "PNG"))(Size(8, 8))
    finally:
        imaging.close()
    assert (covered[:, :4] == 255).all()
    assert (np.abs(covered[:, 4:].astype(int) - 250) <= 1).all()
