"""A model in ONNX as a function from prepared images to outputs."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from shared.errors import WeightsInvalid
from shared.models.card import Card
from worker.inference.api import Done
from worker.inference.architectures.onnx.pixels import Floats, normalise
from worker.inference.forward import NotFinite

if TYPE_CHECKING:
    import onnxruntime as ort

_CHANNELS: Final = 3
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_LIKE: Final = 1 / 255
"""Greatest difference between an image's outputs in a batch and alone, as a share of their range:
one level of a mask. A constant in the graph that belongs to one image differs by far more."""


class Network:
    """The network of *card* in *session*, in passes of one or of many images.

    Raises:
        WeightsInvalid: If the model's inputs or outputs are unlike the card.
    """

    def __init__(self, session: "ort.InferenceSession", card: Card) -> None:
        self._session = session
        self._card = card
        self._input = _checked_input(session, card)
        self._output = _checked_output(session, card)
        self._type = _TYPES[self._input.type]

    @property
    def side_px(self) -> int:
        """Width and height of the input."""
        return self._card.input.side_px

    @property
    def is_fixed_to_one(self) -> bool:
        """Whether the model itself says that it takes one image at a time."""
        return bool(self._input.shape[0] == 1)

    def launch(self, images: Sequence[Tensor], *, is_batched: bool) -> Done[Tensor]:
        """Run the network over *images*, in one pass if *is_batched*; see `together`.

        Raises:
            NotFinite: If an output is not finite.
        """
        started_s = time.perf_counter()
        outputs = self.together(images) if is_batched and images else self.one_by_one(images)
        if not all(math.isfinite(float(output.sum())) for output in outputs):
            raise NotFinite("a value is not finite (onnx)")
        return Done(outputs, time.perf_counter() - started_s)

    def one_by_one(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Run the network over each of *images*; see `together`."""
        return [self.together([image])[0] for image in images]

    def together(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Run the network once over all *images*.

        Args:
            images: Each `(3, side_px, side_px)` uint8.

        Returns:
            For each image `(side, side)` float32, before the activation.

        Raises:
            Exception: Any error of ONNX Runtime; they have no common class.
        """
        batch = np.stack([normalise(image.numpy(), self._card.input) for image in images])
        [found] = self._session.run(
            [self._output.name], {self._input.name: batch.astype(self._type, copy=False)}
        )
        maps = np.asarray(found, np.float32).reshape(len(images), *found.shape[-2:])
        return [torch.from_numpy(each) for each in maps]


def takes_batches(network: Network) -> bool:
    """Return whether two images in one pass give what each gives alone.

    A batch dimension is no proof: an exported graph may hold constants of the one image that it
    was traced with, and then returns wrong masks without an error.
    """
    if network.is_fixed_to_one:
        return False
    side_px = network.side_px
    noise = np.random.default_rng(0).integers(0, 256, (2, _CHANNELS, side_px, side_px), np.uint8)
    images = [torch.from_numpy(each) for each in noise]
    try:
        both, alone = network.together(images), network.one_by_one(images)
    except Exception:  # noqa: BLE001 - its errors have no common class
        return False
    return all(_is_alike(a.numpy(), b.numpy()) for a, b in zip(both, alone, strict=True))


def _is_alike(found: Floats, expected: Floats) -> bool:
    span = float(expected.max() - expected.min())
    return float(np.abs(found - expected).max()) <= _LIKE * max(span, 1e-6)


def _checked_input(session: "ort.InferenceSession", card: Card) -> "ort.NodeArg":
    given, side_px = session.get_inputs(), card.input.side_px
    wanted = f"one input (images, {_CHANNELS}, {side_px}, {side_px}) of floats"
    if len(given) != 1 or given[0].type not in _TYPES:
        described = ", ".join(f"{each.name} {each.shape} {each.type}" for each in given)
        raise WeightsInvalid(f"{card.name}: the card needs {wanted}, the model has {described}")
    sides = (_CHANNELS, side_px, side_px)
    shape = given[0].shape
    if len(shape) != len(sides) + 1 or any(
        isinstance(has, int) and has != side for has, side in zip(shape[1:], sides, strict=True)
    ):
        raise WeightsInvalid(f"{card.name}: the card needs {wanted}, the model has {shape}")
    return given[0]


def _checked_output(session: "ort.InferenceSession", card: Card) -> "ort.NodeArg":
    outputs, index = session.get_outputs(), card.output.index
    if index >= len(outputs):
        raise WeightsInvalid(
            f"{card.name}: the card names output {index}, the model has {len(outputs)}"
        )
    shape = outputs[index].shape
    planes = [size for size in shape[1:-2] if isinstance(size, int) and size != 1]
    if len(shape) not in (3, 4) or planes:
        raise WeightsInvalid(
            f"{card.name}: output {index} is {shape}; a mask is (images, 1, height, width)"
        )
    return outputs[index]
