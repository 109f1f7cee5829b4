"""Which part of the source fills which part of the canvas."""

import numpy as np
import pytest

from shared.recipes.values import Size
from worker.imaging.render import Box, Placement
from worker.imaging.render.layer import Unscaled
from worker.imaging.render.light import WHITE, resized, times, to_alpha, to_light, to_mask, to_srgb
from worker.imaging.render.resample import _strip, resample


@pytest.fixture
def rng():
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when a test fails
    return np.random.default_rng(seed)


def test_every_value_survives_linear_light_and_alpha_with_16_bits():
    values = np.arange(256, dtype=np.uint8)[None]
    pixels = np.dstack([values] * 3)

    assert np.array_equal(to_srgb(to_light(pixels)), pixels)
    assert np.array_equal(to_mask(to_alpha(values)), values)


def test_a_strip_contains_the_visible_subject_and_ends_on_whole_pixels(rng):
    errors_px = []
    for _ in range(2000):
        size, canvas_px = rng.integers(100, 3000, 2).tolist()
        first = int(rng.integers(0, size - 50))
        last = int(rng.integers(first + 1, size + 1))
        scale = float(np.exp(rng.uniform(np.log(0.06), np.log(4))))
        offset_px = float(rng.uniform(-size * scale, canvas_px))

        strip = _strip((first, last), size, scale, offset_px, canvas_px)

        seen = max(first, -offset_px / scale), min(last, (canvas_px - offset_px) / scale)
        if strip is None:
            assert seen[1] - seen[0] < 3
            continue
        assert strip.start <= seen[0] + 1e-6
        assert strip.stop >= seen[1] - 1e-6
        for at, at_px in ((strip.start, strip.start_px), (strip.stop, strip.stop_px)):
            error_px = abs(offset_px + at * scale - at_px)
            assert error_px <= max(0.5, 1 - scale) + 1e-6
            if at not in (0, size):
                errors_px.append(error_px)
    assert np.quantile(errors_px, 0.8) <= 1 / 32


@pytest.mark.parametrize("side_px", [500, 499, 333, 250, 125, 90])
@pytest.mark.parametrize("source_px", [1000, 1001])
def test_a_gradient_stays_one_at_any_size_whether_whole_pixels_divide_it_or_not(source_px, side_px):
    ramp = np.linspace(0, WHITE, source_px).astype(np.uint16)
    values = np.ascontiguousarray(np.broadcast_to(ramp, (source_px, source_px)))

    small = resized(values, Size(side_px, side_px)).astype(float)

    centres = (np.arange(side_px) + 0.5) * source_px / side_px - 0.5
    expected = centres * WHITE / (source_px - 1)
    assert small.shape == (side_px, side_px)
    inner = slice(1, -1)
    assert np.abs(small - expected)[:, inner].max() <= 2 * WHITE / source_px


def test_pixels_that_keep_their_size_are_placed_and_never_resampled(rng):
    colours = rng.integers(0, 256, (40, 60, 3), np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 10:50] = rng.choice(np.array([0, 90, 255], np.uint8), (25, 40))
    for _ in range(200):
        canvas = Size(*rng.integers(1, 90, 2).tolist())
        left, top = (
            int(rng.integers(-60, canvas.width_px)),
            int(rng.integers(-40, canvas.height_px)),
        )
        box = Box(10 + left, 5 + top, 50 + left, 30 + top)
        placement = Placement(canvas, 1.0, left, top, box, frozenset(), 1.0)
        at = np.mgrid[: canvas.height_px, : canvas.width_px] - np.array([top, left])[:, None, None]
        is_inside = (at >= 0).all(0) & (at[0] < 40) & (at[1] < 60)
        rows, columns = np.where(is_inside, at, 0)
        alpha = np.where(is_inside, to_alpha(mask)[rows, columns], 0)
        light = times(to_light(colours[rows, columns]), alpha)

        layer = resample(colours, mask, placement, None)

        if layer is None:
            assert not alpha.any()
            continue
        assert isinstance(layer, Unscaled)
        whole = layer.on_canvas(canvas)
        assert np.array_equal(whole.alpha_at(np.s_[:, :]), alpha)
        assert np.array_equal(whole.light_at(np.s_[:, :]), light)
        is_solid = alpha[layer.region] == WHITE
        shown = layer.srgb_at(np.s_[:, :])
        assert np.array_equal(shown[is_solid], colours[rows, columns][layer.region][is_solid])
