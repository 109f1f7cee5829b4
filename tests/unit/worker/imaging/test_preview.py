"""Previews: source and cutout side by side, whatever the size and the alpha of the image."""

import io

import numpy as np
import pytest
from PIL import Image

from worker.imaging.compose import compose
from worker.imaging.preview import LEAST_SIDE_PX, SIDE_PX, preview
from worker.imaging.types import SourceImage

GAP_PX = 4
LIGHT, DARK = 238, 187
RED = (200, 30, 20)


def filled(height, width, colour=RED):
    return np.full((height, width, 3), colour, np.uint8)


def drawn(pixels, mask, *, alpha=None):
    """Return the decoded halves of the preview of an image and its cutout."""
    body = preview(SourceImage(pixels, alpha), compose(pixels, mask))
    image = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)
    half = (image.shape[1] - GAP_PX) // 2
    return image[:, :half], image[:, half + GAP_PX :]


def shows(pixels, colour, tolerance=12):
    return np.abs(pixels - colour).max(axis=-1) <= tolerance


def is_board(pixels):
    """Return which of *pixels* have a colour of the checkerboard; WebP blurs the borders."""
    is_grey = pixels.max(axis=-1) - pixels.min(axis=-1) < 12
    level = pixels.mean(axis=-1)
    return is_grey & (level > DARK - 25) & (level < LIGHT + 17)


@pytest.mark.parametrize(
    ("size", "half"),
    [
        ((2000, 2000), (256, 256)),
        ((2001, 1333), (256, 171)),
        ((1000, 3001), (85, 256)),
        ((300, 200), (256, 171)),
        ((256, 256), (256, 256)),
        ((128, 100), (256, 200)),
        ((5, 3), (255, 153)),
        ((1, 1), (256, 256)),
        ((1, 2000), (64, 256)),
        ((2000, 1), (256, 64)),
        ((20_000, 3), (256, 64)),
        ((65, 30_000), (64, 256)),
    ],
)
def test_halves_of_every_size_show_the_image_and_its_cutout(size, half):
    before, after = drawn(filled(*size), np.full(size, 255, np.uint8))

    assert before.shape[:2] == after.shape[:2] == half
    row, column = half[0] // 2, half[1] // 2
    if max(size) < 50 * min(size):  # WebP halves the resolution of colours: thin lines are greyish
        assert shows(before[row - 1 : row + 1, column - 1 : column + 1], RED, 40).any()
    assert not is_board(before[row - 1 : row + 1]).all()
    assert not is_board(after[row - 1 : row + 1]).all()


def test_the_left_half_is_the_source_with_its_background():
    pixels = filled(600, 600)
    pixels[:, 300:] = (20, 40, 200)
    mask = np.zeros((600, 600), np.uint8)
    mask[:, :300] = 255

    before, after = drawn(pixels, mask)

    assert shows(before[:, :120], RED).all()
    assert shows(before[:, 136:248], (20, 40, 200)).all()
    assert shows(after[:, 8:120], RED).all()
    assert is_board(after[:, 136:]).all()


@pytest.mark.parametrize("grey", [0, 200])
def test_partial_alpha_lets_the_checkerboard_show_through(grey):
    before, after = drawn(filled(600, 600, (grey,) * 3), np.full((600, 600), 128, np.uint8))

    assert np.abs(before[:, 8:248] - grey).max() < 12
    shown = sorted({int(level) for level in np.median(after, axis=2)[6::24, 6::12].ravel()})
    dark, light = ((128 * grey + 127 * square) / 255 for square in (DARK, LIGHT))
    assert shown[0] == pytest.approx(dark, abs=8)
    assert shown[-1] == pytest.approx(light, abs=8)


def test_colours_without_alpha_are_not_shown():
    """The colours under alpha 0 are arbitrary: often a white that was never seen."""
    pixels, alpha = filled(900, 900, (0, 255, 0)), np.zeros((900, 900), np.uint8)
    pixels[:, :333], alpha[:, :333] = RED, 255

    for half in drawn(pixels, alpha, alpha=alpha):
        assert is_board(half[:, 104:]).all()
        is_green = half[..., 1] > half[..., [0, 2]].max(axis=-1) + 20
        assert not is_green.any()


@pytest.mark.parametrize("edge", [333, 334, 335, 340])
def test_cleared_pixels_do_not_darken_the_edge(edge):
    mask = np.zeros((2600, 2600), np.uint8)
    mask[:, edge:] = 255

    _, after = drawn(filled(2600, 2600, (255, 255, 255)), mask)

    assert after[:, 30:].min() > DARK - 25
    assert after[:, 40:].min() > 240


def test_fine_stripes_are_averaged():
    """Pixels that were left out would make a fabric of fine stripes look plain or coarse."""
    pixels = filled(2048, 2048, (0, 0, 0))
    pixels[::4] = 255

    for half in drawn(pixels, np.full((2048, 2048), 255, np.uint8)):
        assert np.abs(half[:, 8:248] - 64).max() < 12


def test_a_thin_line_keeps_its_place_and_thickness():
    """A half of at least 64 px shows a line of one pixel, and it is not stretched."""
    before, _ = drawn(filled(1, 2000, (0, 0, 0)), np.full((1, 2000), 255, np.uint8))

    assert before.shape[:2] == (LEAST_SIDE_PX, SIDE_PX)
    assert [n for n, row in enumerate(before) if row.mean() < 120] == [31]


def test_all_pixels_of_a_line_are_averaged():
    pixels = filled(1, 2560, (0, 0, 0))
    for offset in range(3, 7):  # the middle of the ten pixels that become one
        pixels[:, offset::10] = 255

    before, _ = drawn(pixels, np.full((1, 2560), 255, np.uint8))

    assert before[31].mean() == pytest.approx(102, abs=40)


def test_a_preview_is_small():
    rng = np.random.default_rng(1)
    smooth = rng.integers(0, 255, (12, 12, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(smooth).resize((2000, 2000), Image.Resampling.BICUBIC))

    assert len(preview(SourceImage(pixels), compose(pixels, pixels[..., 0]))) < 15_000
