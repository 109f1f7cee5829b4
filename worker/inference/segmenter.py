"""The segmenter: one network on one device, from pictures to masks."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, TypeVar, cast

import torch

from shared.errors import DeviceLost
from shared.models.weights import file_sha256
from worker.inference.architectures.isnet.fold import build
from worker.inference.architectures.isnet.fuse import fuse
from worker.inference.architectures.isnet.network import lower
from worker.inference.architectures.isnet.tensors import load_state_dict
from worker.inference.batch_limit import BatchLimit
from worker.inference.devices import pick_device, pick_dtype, precision_name
from worker.inference.forward import Forward
from worker.inference.pixels import postprocess, preprocess
from worker.inference.pixels.on_device import OnDevice
from worker.inference.streams import Streams
from worker.inference.torch_errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from worker.imaging.types import RgbImage, Segmented
    from worker.inference.api import Output, Prepared

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH_SIZES: Final = {"cpu": 1, "cuda": 16}
"""Where to begin; on a CPU the worker measures (`inference.batch_size`), and each picture at once
takes memory of its own (docs/adr/0010)."""
_TURNS: Final = 2
"""Pictures that each of a CPU's passes side by side takes in a batch. With two an image took 1, 7
and 8 % less time than with one, most on the most uneven cores (16 jobs each way, in turn)."""
_THREADS: Final = torch.get_num_threads()
"""Torch's own choice, or `OMP_NUM_THREADS`. Asked before any batch: torch tells a thread that it
does not know the number that was set last, which may be one picture's share."""


class Segmenter:
    """Finds the foreground of pictures.

    `prepare` and `finish` are safe in any thread; a loaded one on CUDA has them done on the device
    too, but for huge pictures and where it has no memory. `forward` belongs to one thread alone.

    Args:
        network: See `worker.inference.forward.Forward`.
        device: Where it runs.
        dtype: What it counts in.
        weights_sha256: Of the file the weights came from.
        batch_size: Most pictures at once; by default 1 on a CPU, 16 on CUDA.
        threads: If any, each picture of a batch has a pass of its own on its share of them; see
            `Streams`.
        on_device: Prepares and finishes on the device; without, that is done on the CPU.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: torch.device,
        dtype: torch.dtype,
        weights_sha256: str,
        batch_size: int | None = None,
        threads: int = 0,
        on_device: OnDevice | None = None,
    ) -> None:
        self.device = str(device)
        self.precision = precision_name(dtype)
        self.weights_sha256 = weights_sha256
        self.threads = threads
        """Threads of a CPU that a batch keeps busy; 0 where it is one pass."""
        self._forward = Forward(lower(network, dtype), device=device, dtype=dtype)
        self._streams = Streams(self._forward, threads) if threads else None
        self._run: Callable[[Sequence[Tensor]], list[Tensor]] = self._streams or self._forward
        self._on_device = on_device
        self.batch_size = batch_size or _BATCH_SIZES[device.type]

    @property
    def batch_size(self) -> int:
        """Most pictures at once; set it before the first batch."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self._batch_size = size
        self._limit = BatchLimit(size)

    def run_side_by_side(self, pictures: int) -> None:
        """Have a CPU work on so many *pictures* at once, at most one a thread.

        A batch is twice as many then: passes wait for each other at its end alone, and seldom
        does each get as much of the processor as the next (docs/adr/0010).
        """
        if self._streams is None:
            raise RuntimeError(f"{self.device} runs a batch in one pass")
        self._streams.at_once = pictures
        self.batch_size = pictures * _TURNS if pictures > 1 else 1

    @property
    def circumstances(self) -> str:
        """What its speed depends on besides the processor, for people and as a key."""
        return f"{self.threads} threads, {self.precision}, torch {torch.__version__}"

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> Segmenter:
        """Load weights on a device, batch norm folded in.

        Args:
            path: `.pth`, `.safetensors` or `.onnx`; whether it is the expected file is for
                `shared.models.weights.verify`.
            device: See `pick_device`.
            precision: See `pick_dtype`.
            threads: Most that a CPU's passes take; fewer where torch was told so.

        Raises:
            WeightsInvalid: If the file does not hold weights of this network.
            DeviceMissing: If the device is not there.
            DeviceLost: If it is there and cannot be used.
            InvalidOption: If there is no such device or precision.
        """
        where = pick_device(device)
        dtype = pick_dtype(precision, where)
        if where.type == "cuda" and dtype == torch.float32:
            # By default cuDNN's fp32 is TF32, with the mantissa of fp16.
            torch.backends.cudnn.allow_tf32 = False
        network = build(load_state_dict(path))
        lower(network, dtype)
        on_cpu = where.type == "cpu"
        sha256 = file_sha256(path)
        try:
            with translated(str(where), "taking the weights"):
                return cls(
                    fuse(network) if on_cpu else network,
                    device=where,
                    dtype=dtype,
                    weights_sha256=sha256,
                    threads=min(threads or _THREADS, _THREADS) if on_cpu else 0,
                    on_device=None if on_cpu else OnDevice(where),
                )
        except MemoryError as err:
            raise DeviceLost(f"{where} has no memory for the weights: {err}") from err

    def prepare(self, image: RgbImage) -> Tensor:
        """Return `(3, 1024, 1024)` uint8, on the device where it was made there.

        See `worker.inference.pixels.preprocess.prepare`.

        Raises:
            DeviceLost: If the device fails; the picture is not to blame.
        """
        height, width, _ = image.shape
        there = self._there(height * width, lambda device: device.prepare(image))
        return preprocess.prepare(image) if there is None else there

    def forward(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """Run the network over prepared pictures, in as many parts as memory asks for.

        Args:
            batch: From `prepare`; may be empty.

        Returns:
            For each `(1024, 1024)` float32 from 0 to 1, on the device, in the order of *batch*.

        Raises:
            DeviceLost: If the device fails, answers what is no number, or cannot hold one
                picture; the pictures are not to blame.
        """
        outputs: list[Tensor] = []
        tensors = cast("Sequence[Tensor]", batch)  # no other segmenter made them
        while len(outputs) < len(tensors):
            part = tensors[len(outputs) : len(outputs) + self._limit.now]
            done = self._try(part)
            if done is None:
                self._limit.failed(len(part))
                facts = {"batch_size": len(part), "cause": f"{self.device} has no memory for it"}
                logger.warning("batch halved", extra=facts)
                with translated(self.device, "beside the network"):
                    self._forward.free_cached_memory()
            else:
                self._limit.fitted(len(part))
                outputs += done
        return outputs

    def _try(self, part: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the outputs, or None where *part* does not fit but half of it may."""
        try:
            with translated(self.device, "in the network"):
                outputs = self._run(part)
                is_finite = all(math.isfinite(float(output.sum())) for output in outputs)
        except MemoryError as err:
            if len(part) == 1:
                raise DeviceLost(f"{self.device} has no memory for one picture: {err}") from err
            return None
        if not is_finite:
            raise DeviceLost(f"{self.device} answered what is no number ({self.precision})")
        return outputs

    def run_once(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Run all of *batch* at once, whatever the batch size; errors are the device's own."""
        return self._run(batch)

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Turn one output of `forward` into a mask; see `postprocess.finish`.

        Raises:
            DeviceLost: If the device fails; the picture is not to blame.
            MemoryError: If there is no memory to fetch the output to.
        """
        tensor = cast("Tensor", output)
        there = self._there(
            height * width, lambda device: device.finish(tensor, height, width, stretch=stretch)
        )
        if there is not None:
            return there
        with translated(self.device, "beside the network"):
            here = tensor.cpu()
        return postprocess.finish(here.numpy(), height, width, stretch=stretch)

    def _there(self, pixels: int, do: Callable[[OnDevice], T]) -> T | None:
        """Do it on the device, or return None where it is better done here."""
        if self._on_device is None or pixels > preprocess.MAX_FLOAT_PIXELS:
            return None
        try:
            with translated(self.device, "beside the network"):
                return do(self._on_device)
        except MemoryError:
            return None
