"""The arithmetic of cards, compared with Pillow and NumPy step by step as rembg 2.0.86 computes."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.onnx_models import made_model
from support.pictures import photo

from shared.models.card import Input, Output
from shared.models.registry import REGISTRY, get
from worker.inference.architectures.onnx.network import Network
from worker.inference.architectures.onnx.pixels import finish, normalise, prepare
from worker.inference.architectures.onnx.segmenter import OnnxSegmenter
from worker.inference.architectures.onnx.session import open_session

ONNX_CARDS = [each for each in REGISTRY.values() if each.architecture == "onnx"]
LIKE_REMBG = [each for each in ONNX_CARDS if each.input.scale == "maximum"]


def segmenter_of(card, folder):
    path = made_model(folder / "net.onnx", card.input.side_px)
    network = Network(open_session(path, torch.device("cpu"), threads=1), card)
    return OnnxSegmenter(network, card, device="cpu", weights_sha256="0", batch_size=1)


def as_rembg(image, card, run):
    """Return the mask of *image* by rembg's steps; *run* is the network."""
    size = (card.input.side_px, card.input.side_px)
    small = np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    scaled = small / max(np.max(small), 1e-6)
    planes = np.zeros_like(scaled)
    for channel in range(3):
        mean, std = card.input.mean[channel], card.input.std[channel]
        planes[..., channel] = (scaled[..., channel] - mean) / std
    found = run(planes.transpose(2, 0, 1)[None].astype(np.float32))[0, 0]
    if card.output.activation == "sigmoid":
        found = 1 / (1 + np.exp(-found))
    found = (found - found.min()) / (found.max() - found.min())
    levels = Image.fromarray((found * 255).astype("uint8"))
    return np.asarray(levels.resize(image.shape[1::-1], Image.Resampling.LANCZOS))


def difference(card, changed, folder):
    """Return mean and greatest difference of the masks of *changed* and rembg's of *card*."""
    image, segmenter = photo(width=413, height=307, seed=5), segmenter_of(changed, folder)
    session = open_session(folder / "net.onnx", torch.device("cpu"), threads=1)
    expected = as_rembg(image, card, lambda x: session.run(None, {"input": x})[0])
    [output] = segmenter.forward([segmenter.prepare(image)])
    found = segmenter.finish(output, *image.shape[:2], stretch="seed").mask
    apart = np.abs(found.astype(int) - expected)
    return apart.mean(), apart.max()


@pytest.mark.parametrize("card", LIKE_REMBG, ids=lambda card: card.name)
def test_masks_equal_those_of_rembg(card, tmp_path):
    mean, greatest = difference(card, card, tmp_path)

    assert greatest <= 1
    assert mean <= 0.05


@pytest.mark.parametrize("card", LIKE_REMBG, ids=lambda card: card.name)
def test_another_mean_makes_a_difference(card, tmp_path):
    mean = tuple(value + 0.015 for value in card.input.mean)
    wrong = card.model_copy(update={"input": card.input.model_copy(update={"mean": mean})})

    assert difference(card, wrong, tmp_path)[0] > 0.05


@pytest.mark.parametrize("card", LIKE_REMBG, ids=lambda card: card.name)
def test_another_order_of_the_stretch_makes_a_difference(card, tmp_path):
    order = card.output.model_copy(update={"order": "resize-then-stretch"})
    wrong = card.model_copy(update={"output": order})

    assert difference(card, wrong, tmp_path)[0] > 0.05


@pytest.mark.parametrize(("scale", "whole"), [("255", 255), ("maximum", 200)])
def test_pixels_are_divided_by_what_the_card_says(scale, whole):
    image = np.zeros((3, 32, 32), np.uint8)
    image[1] = 200
    given = Input(side_px=32, resampling="lanczos", scale=scale, mean=(0, 0.5, 0), std=(1, 0.25, 1))

    found = normalise(image, given)

    assert found.dtype == np.float32
    assert np.unique(found[1]).tolist() == [np.float32((200 / whole - 0.5) / 0.25)]
    assert not found[[0, 2]].any()


def test_a_black_image_is_not_divided_by_zero():
    found = normalise(np.zeros((3, 32, 32), np.uint8), get("u2net").input)

    assert np.isfinite(found).all()


@pytest.mark.parametrize("resampling", ["lanczos", "bilinear"])
def test_images_are_prepared_at_the_size_of_the_card(resampling):
    given = Input(side_px=320, resampling=resampling, scale="255", mean=(0, 0, 0), std=(1, 1, 1))

    found = prepare(photo(width=50, height=700, seed=1), given)

    assert found.shape == (3, 320, 320)
    assert found.dtype == torch.uint8


def ramp(low, high):
    return np.linspace(low, high, 64 * 64, dtype=np.float32).reshape(64, 64)


@pytest.mark.parametrize("order", ["stretch-then-resize", "resize-then-stretch"])
@pytest.mark.parametrize(
    ("output", "range_", "levels"),
    [
        (ramp(-3, 7), "stretch", (0, 255)),
        (ramp(0.25, 0.75), "clip", (63, 191)),
        (ramp(-1, 2), "clip", (0, 255)),
        (np.ones((64, 64), np.float32), "clip", (255, 255)),
        (np.ones((64, 64), np.float32), "stretch", (0, 0)),
    ],
)
def test_the_range_of_the_output_becomes_the_range_of_the_mask(output, range_, levels, order):
    given = Output(activation="none", range=range_, order=order)

    mask = finish(output, 64, 64, given, stretch="seed").mask

    assert (mask.min(), mask.max()) == levels


@pytest.mark.parametrize(("stretch", "is_empty"), [("guarded", True), ("seed", False)])
@pytest.mark.parametrize("range_", ["stretch", "clip"])
def test_an_output_without_a_subject_is_empty_if_guarded(stretch, is_empty, range_):
    given = Output(activation="none", range=range_, order="stretch-then-resize", empty_below=0.2)

    found = finish(ramp(0, 0.19), 32, 48, given, stretch=stretch)

    assert found.mask.shape == (32, 48)
    assert found.mask.any() != is_empty
    assert (found.low, round(found.high, 2)) == (0, 0.19)


def test_a_large_output_does_not_overflow():
    given = Output(activation="sigmoid", order="stretch-then-resize")

    assert finish(ramp(-1e4, 1e4), 64, 64, given, stretch="seed").mask.max() == 255
