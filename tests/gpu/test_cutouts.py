"""On a GPU: the same cutouts as by numpy and OpenCV on a CPU."""

from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
import torch
from support.photographs import NAMES, enlarged, photograph
from support.soft_masks import assert_equal_cutouts, soft_mask

from worker.imaging.compose import Edges, compose
from worker.inference.pixels.on_device import OnDevice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def cuda():
    return OnDevice(torch.device("cuda", 0))


@pytest.mark.parametrize("edges", get_args(Edges))
@pytest.mark.parametrize(
    "size", [(1, 300), (5, 999), (600, 600), (601, 333), (2000, 2000), (3001, 5000)]
)
def test_cutouts_equal_those_of_a_cpu(cuda, size, edges):
    image, mask = enlarged("coffee", *size), soft_mask(*size)

    found = cuda.compose(image, mask, edges=edges)

    assert_equal_cutouts(found, compose(image, mask, edges=edges))


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_a_mask_of_one_value_gives_the_same_cutout(cuda, alpha):
    image = enlarged("rocket", 2000, 2000)
    mask = np.full(image.shape[:2], alpha, np.uint8)

    found = cuda.compose(image, mask, edges="estimate")

    assert_equal_cutouts(found, compose(image, mask, edges="estimate"))


def test_cutouts_made_at_once_are_those_of_their_own_images(cuda):
    """A missing wait would show as pixels of another image."""
    images = [photograph(name) for name in NAMES]
    masks = [soft_mask(*image.shape[:2], slope=12) for image in images]
    expected = [
        compose(image, mask, edges="estimate") for image, mask in zip(images, masks, strict=True)
    ]

    def made(number):
        return cuda.compose(images[number % 7], masks[number % 7], edges="estimate")

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(made, range(70))):
            assert_equal_cutouts(found, expected[number % 7])
