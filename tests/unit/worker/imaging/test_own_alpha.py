"""Which alpha is that of a cutout."""

import cv2
import numpy as np
import pytest

from worker.imaging.own_alpha import is_cutout

HEIGHT, WIDTH = 200, 300


def disc(radius=60, *, inside=255, outside=0, centre=(150, 100)):
    alpha = np.full((HEIGHT, WIDTH), outside, np.uint8)
    cv2.circle(alpha, centre, radius, inside, -1, cv2.LINE_AA)
    return alpha


@pytest.mark.parametrize("inside", [255, 254, 252])
@pytest.mark.parametrize("outside", [0, 3])
def test_a_subject_on_a_transparent_ground_is_a_cutout(inside, outside):
    """Networks seldom return exactly 0 or 255."""
    assert is_cutout(disc(inside=inside, outside=outside))


def test_a_subject_that_touches_an_edge_is_a_cutout():
    assert is_cutout(disc(20, centre=(150, 199)))


def test_a_subject_with_a_soft_edge_is_a_cutout():
    assert is_cutout(cv2.GaussianBlur(disc(70), (9, 9), 0))


@pytest.mark.parametrize("angle", [3, 45])
def test_a_turned_rectangle_is_a_cutout(angle):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    corners = cv2.boxPoints(((150, 100), (120, 60), angle))
    cv2.fillPoly(alpha, [corners.astype(np.int32)], 255)

    assert is_cutout(alpha)


NO_CUTOUTS = {
    "opaque": np.full((HEIGHT, WIDTH), 255, np.uint8),
    "empty": np.zeros((HEIGHT, WIDTH), np.uint8),
    "uniform": np.full((HEIGHT, WIDTH), 128, np.uint8),
    "half-transparent": disc(inside=128),
    "on-a-veil": disc(outside=40),
    "gradient": np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)),
    "speck": disc(5),
    "inverted": 255 - disc(),
    "blurred": cv2.GaussianBlur(disc(70), (0, 0), 12),
    "padding": np.pad(np.full((160, 240), 255, np.uint8), ((20, 20), (30, 30))),
    "letterbox": np.pad(np.full((140, WIDTH), 255, np.uint8), ((30, 30), (0, 0))),
    "cut-on-two-sides": disc(190),
}


@pytest.mark.parametrize("alpha", NO_CUTOUTS.values(), ids=NO_CUTOUTS)
def test_other_transparency_is_no_cutout(alpha):
    assert not is_cutout(alpha)


@pytest.mark.parametrize(
    ("clear_px", "expected"), [(950, True), (949, False)], ids=["95 %", "less"]
)
def test_the_ring_may_be_covered_to_a_twentieth(clear_px, expected):
    """The ring of this alpha is 2 pixels wide."""
    alpha = disc()
    ring = np.ones_like(alpha, bool)
    ring[2:-2, 2:-2] = False
    at = np.flatnonzero(ring)
    covered = round(len(at) * (1000 - clear_px) / 1000 + (0 if expected else 0.5))
    alpha.reshape(-1)[at[:covered]] = 255

    assert is_cutout(alpha) is expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("value", [0, 255])
def test_the_smallest_images_are_no_cutouts(shape, value):
    assert not is_cutout(np.full(shape, value, np.uint8))
