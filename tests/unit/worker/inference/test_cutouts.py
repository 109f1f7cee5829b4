"""Cutouts by torch, run on the CPU, equal those by numpy and OpenCV."""

from typing import get_args

import numpy as np
import pytest
import torch
from support.layers import layered_images
from support.photographs import NAMES, enlarged, photograph
from support.soft_masks import assert_equal_cutouts, soft_mask

from worker.imaging.compose import Edges, compose
from worker.imaging.foreground import foreground
from worker.inference.pixels import cutouts
from worker.inference.pixels.cutouts import TILE_PX
from worker.inference.pixels.on_device import OnDevice
from worker.inference.pixels.window_layers import LayerTables

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def on_device():
    return OnDevice(CPU)


def check(on_device, image, mask, edges="estimate"):
    found = on_device.compose(image, mask, edges=edges)
    assert_equal_cutouts(found, compose(image, mask, edges=edges))


@pytest.mark.parametrize("name", NAMES)
def test_photographs_give_the_same_cutout(on_device, name):
    image = photograph(name)
    check(on_device, image, soft_mask(*image.shape[:2], slope=12))


@pytest.mark.parametrize("edges", get_args(Edges))
def test_all_kinds_of_edges_give_the_same_cutout(on_device, edges):
    check(on_device, enlarged("coffee", 600, 600), soft_mask(600, 600), edges)


def test_an_image_of_2000_px_gives_the_same_cutout(on_device):
    check(on_device, enlarged("flower", 2000, 2000), soft_mask(2000, 2000, slope=40))


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 300), (300, 1), (2, 3), (5, 999), (TILE_PX - 1, TILE_PX + 1), (601, 333)],
)
def test_odd_sizes_give_the_same_cutout(on_device, size):
    check(on_device, enlarged("cat", *size), soft_mask(*size, slope=2))


@pytest.mark.parametrize("outline", ["crisp", "wide", "hair"])
def test_known_layers_give_the_same_cutout(on_device, outline):
    sample = next(each for each in layered_images() if each.name.startswith(outline))
    check(on_device, sample.image, sample.alpha)


@pytest.mark.parametrize("alpha", [0, 3, 4, 128, 251, 252, 255])
def test_a_mask_of_one_value_gives_the_same_cutout(on_device, alpha):
    image = enlarged("rocket", 150, 210)
    check(on_device, image, np.full(image.shape[:2], alpha, np.uint8))


@pytest.mark.parametrize("around", [0, 255])
@pytest.mark.parametrize("place", [(0, 0), (149, 209), (63, 64), (64, 63), (77, 101)])
def test_a_single_soft_pixel_gives_the_same_cutout(on_device, place, around):
    image = enlarged("rocket", 150, 210)
    mask = np.full(image.shape[:2], around, np.uint8)
    mask[place] = 100
    check(on_device, image, mask)


def test_random_alphas_give_the_same_cutout(on_device):
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (140, 200, 3), np.uint8)
    check(on_device, image, rng.integers(0, 256, (140, 200), np.uint8))


@pytest.mark.parametrize("tiles_at_once", [1, 4, 1000])
def test_the_number_of_tiles_estimated_at_once_changes_no_pixel(tiles_at_once):
    image, mask = enlarged("cat", 300, 400), soft_mask(300, 400)
    found = cutouts.foreground(
        torch.from_numpy(image),
        torch.from_numpy(mask),
        LayerTables(CPU),
        tiles_at_once=tiles_at_once,
    )

    assert np.array_equal(found.numpy(), foreground(image, mask))


def test_foreground_colours_are_the_same_under_clear_pixels_too():
    image, mask = photograph("cat"), soft_mask(*photograph("cat").shape[:2])
    found = cutouts.foreground(torch.from_numpy(image), torch.from_numpy(mask), LayerTables(CPU))

    assert np.array_equal(found.numpy(), foreground(image, mask))
