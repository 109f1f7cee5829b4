"""The segmenter of a model in ONNX."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor

from shared.models.card import Card
from worker.imaging.types import RgbImage, Segmented
from worker.inference.api import Output, Pass, Prepared
from worker.inference.architectures.onnx import pixels
from worker.inference.architectures.onnx.network import Network, takes_batches
from worker.inference.architectures.onnx.session import open_session
from worker.inference.batch_runner import BatchRunner
from worker.inference.batch_size import initial_batch_size
from worker.inference.devices import hardware_of, memory_bytes, pick_device
from worker.inference.diagnosis import Diagnosis


class OnnxSegmenter:
    """Finds the foreground of images as a card says; see `worker.inference.api.Segmenter`.

    Args:
        network: The network of *card*.
        card: The arithmetic around it.
        device: Name of the device, as in records.
        weights_sha256: SHA-256 of the file.
        batch_size: Maximum batch size; with 1 the network runs for one image at a time.
    """

    in_flight = 1

    def __init__(
        self, network: Network, card: Card, *, device: str, weights_sha256: str, batch_size: int
    ) -> None:
        self.device = device
        self.hardware = hardware_of(torch.device(device))
        self.weights_sha256 = weights_sha256
        self.batch_size = batch_size
        self._card = card
        self._runner = BatchRunner(
            partial(network.launch, is_batched=batch_size > 1),
            lambda: None,
            device=device,
            batch_size=batch_size,
        )
        self._diagnosis = Diagnosis(
            self._runner, lambda: self._runner, device=device, side_px=card.input.side_px
        )

    @classmethod
    def load(
        cls,
        path: Path,
        card: Card,
        *,
        device: str,
        threads: int,
        weights_sha256: str,
        batch_size: int | None = None,
    ) -> Self:
        """Load the model in *path* onto a device.

        On a CPU images run one at a time, each with all threads: a pass of BiRefNet takes 7 GB.

        Args:
            path: An ONNX file with the card's checksum.
            card: The card of the model.
            device: See `pick_device`.
            threads: Threads of one pass on a CPU.
            weights_sha256: SHA-256 of *path*.
            batch_size: Maximum batch size on CUDA, if the model takes batches.

        Raises:
            WeightsInvalid: If the file is no model, or unlike the card.
            DeviceUnsupported: If ONNX Runtime is missing or cannot use the device.
            DeviceMissing, DeviceLost, DeviceFull, InvalidOption: See `pick_device`.
        """
        where = pick_device(device)
        network = Network(open_session(path, where, threads=threads), card)
        is_batched = where.type == "cuda" and takes_batches(network)
        size = batch_size or initial_batch_size(memory_bytes(where))
        return cls(
            network,
            card,
            device=str(where),
            weights_sha256=weights_sha256,
            batch_size=size if is_batched else 1,
        )

    def prepare(self, image: RgbImage) -> Tensor:
        """Return `(3, side_px, side_px)` uint8; thread-safe."""
        return pixels.prepare(image, self._card.input)

    def launch(self, batch: Sequence[Prepared]) -> Pass[Tensor]:
        """Run the network over *batch*, which may be empty.

        Returns:
            Its outputs are `(side, side)` float32 for each image. Collecting it raises the errors
            of `worker.inference.segmenter.Segmenter.launch`.
        """
        return self._diagnosis.launch(cast("Sequence[Tensor]", batch))  # no other one made them

    def forward(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """Launch *batch* and collect its outputs; see `launch`."""
        return list(self.launch(batch).collect())

    def check(self) -> None:
        """Run the network over a blank image; see `Diagnosis.check`."""
        self._diagnosis.check()

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Convert one output of `forward` to a mask; thread-safe."""
        values = cast("Tensor", output).numpy()
        return pixels.finish(values, height, width, self._card.output, stretch=stretch)
