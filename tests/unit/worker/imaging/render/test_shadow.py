"""Shadows of masks."""

import numpy as np
import pytest

from shared.recipes.recipe import Shadow
from worker.imaging.render.light import WHITE
from worker.imaging.render.shadow import lit

HEIGHT_PX, WIDTH_PX = 7, 5


@pytest.mark.parametrize("down_px", [-9, -3, 0, 2, 6, 7, 30])
@pytest.mark.parametrize("right_px", [-30, -4, 0, 1, 5])
def test_a_shadow_is_moved_and_repeats_the_edge_of_the_mask(noisy_mask, right_px, down_px):
    shadow = Shadow(opacity=1, blur=0, offset=(right_px / HEIGHT_PX, down_px / HEIGHT_PX))

    found = lit(noisy_mask, shadow, HEIGHT_PX)

    rows = np.clip(np.arange(HEIGHT_PX) - down_px, 0, HEIGHT_PX - 1)
    columns = np.clip(np.arange(WIDTH_PX) - right_px, 0, WIDTH_PX - 1)
    assert np.array_equal(found, WHITE - 257 * noisy_mask[rows][:, columns].astype(int))


@pytest.fixture
def noisy_mask():
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
