"""One output in several widths."""

import numpy as np
import pytest

from shared.recipes import build_recipe
from worker.imaging.render import RenderSource, at_width, draw


def output(**fields):
    pixels = np.full((90, 120, 3), (10, 200, 60), np.uint8)
    mask = np.zeros((90, 120), np.uint8)
    mask[20:70, 40:100] = 255
    recipe = build_recipe({"size": 100, "fill": 0.5, **fields}, origin="test")
    return draw(RenderSource(pixels, pixels, mask), recipe)


@pytest.mark.parametrize("background", ["white", "none"])
@pytest.mark.parametrize("width_px", [1, 33, 50, 75])
def test_pixels_mask_and_placement_are_resized_together(background, width_px):
    whole = output(background=background)

    small = at_width(whole, width_px)

    assert small.pixels.shape == (width_px, width_px, whole.pixels.shape[2])
    assert small.mask.shape == (width_px, width_px)
    assert small.placement.canvas.width_px == width_px
    assert small.placement.scale == pytest.approx(whole.placement.scale * width_px / 100)
    assert small.placement.subject.width == pytest.approx(width_px / 2)
    assert small.fill == whole.fill


def test_edges_of_a_cutout_keep_their_colour():
    small = at_width(output(), 37)

    shown = small.pixels[small.pixels[..., 3] > 20][:, :3].astype(int)
    assert np.abs(shown - (10, 200, 60)).max() <= 2
    assert not small.pixels[small.pixels[..., 3] == 0].any()


def test_edges_mix_as_light_does():
    whole = output(background="white")
    whole.pixels[:, ::2], whole.pixels[:, 1::2] = 0, 255

    assert (at_width(whole, 50).pixels == 188).all()


@pytest.mark.parametrize("width_px", [100, 500])
def test_an_output_is_never_enlarged(width_px):
    whole = output()

    assert at_width(whole, width_px) is whole


def test_a_smaller_width_may_undo_an_enlargement():
    whole = output(max_upscale=4, fill=0.95, size=160)
    assert whole.placement.upscaled > 1.5

    assert at_width(whole, 80).placement.upscaled == max(1, whole.placement.scale / 2)
