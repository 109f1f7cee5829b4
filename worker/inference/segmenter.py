"""The segmenter: one network on one device, from images to masks."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from shared.errors import DeviceFull, DeviceLost
from shared.models.weights import file_sha256
from worker.imaging.compose import Edges, compose
from worker.imaging.types import Cutout, Mask, RgbImage, Segmented
from worker.inference.api import Output, Pass, Prepared
from worker.inference.architectures import load_network
from worker.inference.architectures.isnet.network import SIDE_PX
from worker.inference.backends import BackendName, fuses_for, pick_backend
from worker.inference.batch_runner import BatchRunner
from worker.inference.batch_size import batch_size_for, initial_batch_size
from worker.inference.devices import (
    hardware_of,
    memory_bytes,
    pick_device,
    pick_dtype,
    precision_name,
)
from worker.inference.diagnosis import Diagnosis
from worker.inference.engines import Engines, NetworkKey
from worker.inference.forward import Forward
from worker.inference.graphs import Graphs
from worker.inference.pixels import postprocess, preprocess
from worker.inference.pixels.on_device import OnDevice
from worker.inference.streams import Streams
from worker.inference.tensorrt import TensorRt
from worker.inference.torch_errors import PassFailed, translated

logger = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS: Final = torch.get_num_threads()
"""Torch's own choice, or `OMP_NUM_THREADS`. Read before any batch: in a new thread torch returns
the number that was set last, which may be the share of one image."""


class Segmenter:
    """Finds the foreground of images.

    `prepare`, `finish` and `compose` are thread-safe; call `launch` from one thread only. On CUDA,
    `load` returns a segmenter that does these on the device, except for very large images and when
    the device is out of memory.

    Args:
        network: See `worker.inference.forward.Forward`; also for *device* and *dtype*.
        batch_size: Maximum batch size; None: see `initial_batch_size` and `set_parallel_images`.
        threads: If not 0, `Streams` divides these threads among the images of a batch.
        on_device: Prepares, finishes and composes on the device; if None, the CPU does.
        backend: Back end of *network*.
        load_precise: Loads the network in fp32, for images that *network* fails on; by default
            they are run again with *network*.
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
        load_precise: Callable[[], nn.Module] | None = None,
        backend: BackendName = "eager",
    ) -> None:
        self.device = str(device)
        self.hardware = hardware_of(device)
        self.backend = backend
        self.precision = precision_name(dtype)
        self.weights_sha256 = weights_sha256
        self.threads = threads
        """Threads of a CPU that a batch uses; 0 if a batch is one pass."""
        self._given_batch_size = batch_size
        self.batch_size = batch_size or initial_batch_size(memory_bytes(device))
        forward = Forward(network, device=device, dtype=dtype)
        self.in_flight = 2 if device.type == "cuda" else 1
        self._streams = Streams(forward, threads) if threads else None
        self.run_once: Callable[[Sequence[Tensor]], list[Tensor]] = self._streams or forward
        """Run a whole batch at once, regardless of the batch size; raises torch's own errors."""
        launch = (self._streams or forward).launch
        runner = partial(BatchRunner, device=self.device)
        self._runner = runner(launch, forward.free_cached_memory, batch_size=self.batch_size)

        def load_precise_runner() -> BatchRunner:
            if load_precise is None:
                return self._runner
            precise = Forward(load_precise(), device=device, dtype=torch.float32)
            return runner(precise.launch, precise.free_cached_memory, batch_size=1)

        self._diagnosis = Diagnosis(
            self._runner, load_precise_runner, device=self.device, side_px=SIDE_PX
        )
        self._on_device = on_device

    def set_parallel_images(self, images: int) -> None:
        """Let a CPU process *images* in parallel, at most one per thread; call before any batch."""
        if self._streams is None:
            raise RuntimeError(f"{self.device} runs a batch in one pass")
        self._streams.at_once = images
        self.batch_size = self._given_batch_size or batch_size_for(images)
        self._runner.set_batch_size(self.batch_size)

    @property
    def circumstances(self) -> str:
        """What its speed depends on besides a CPU's name, readable and usable as a key."""
        if self._streams is not None:
            return f"{self.threads} threads, {self.precision}, torch {torch.__version__}"
        name = self.hardware.name
        return f"{name}, {self.batch_size} images, {self.precision}, torch {torch.__version__}"

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        architecture: str = "isnet",
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        weights_sha256: str | None = None,
        backend: BackendName | Literal["auto"] = "auto",
        engines: Engines | None = None,
    ) -> Self:
        """Load weights onto a device.

        Args:
            path: `.pth`, `.safetensors` or `.onnx`; not compared with a known SHA-256.
            architecture: See `load_network`.
            device: See `pick_device`.
            precision: See `pick_dtype`.
            threads: Maximum number of threads on a CPU; torch's own number if that is lower.
            batch_size: Maximum batch size; by default the device's.
            weights_sha256: SHA-256 of the weights' source, for records; None: that of *path*.
            backend: See `pick_backend`.
            engines: Engines for the back end `tensorrt`; None: they are compiled and not kept.

        Raises:
            WeightsInvalid: If the file does not hold weights of this network.
            DeviceMissing: If the device does not exist.
            DeviceUnsupported: If the driver or the device does not suit torch.
            DeviceLost: If the device cannot be used.
            DeviceFull: If the device has no memory for the weights.
            InvalidOption: If the name of the device or precision is unknown, or the device does
                not have the back end, or it cannot be used.
        """
        where = pick_device(device)
        dtype = pick_dtype(precision, where)
        if where.type == "cuda" and dtype == torch.float32:
            # By default cuDNN computes fp32 as TF32, with the mantissa of fp16.
            torch.backends.cudnn.allow_tf32 = False
        on_cpu = where.type == "cpu"
        backend = pick_backend(backend, where.type)
        fuse_for = fuses_for(backend, where.type)
        network = load_network(architecture, path, dtype, fuse_for=fuse_for)
        precise = partial(
            load_network, architecture, path, torch.float32, fuse_for=fuse_for if on_cpu else None
        )
        sha256 = weights_sha256 or file_sha256(path)
        try:
            if backend == "tensorrt":
                like = torch.zeros((1, 3, SIDE_PX, SIDE_PX), dtype=dtype)
                with translated(str(where), "loading the weights", fault=DeviceLost):
                    network, like = network.to(where), like.to(where)
                    key = NetworkKey(sha256, architecture, device=hardware_of(where).name)
                network = (engines or Engines(None, TensorRt())).build(network, key, like)
            with translated(str(where), "loading the weights", fault=DeviceLost):
                return cls(
                    Graphs(network) if backend == "graph" else network,
                    backend=backend,
                    device=where,
                    dtype=dtype,
                    batch_size=batch_size,
                    weights_sha256=sha256,
                    threads=min(threads or _THREADS, _THREADS) if on_cpu else 0,
                    on_device=None if on_cpu else OnDevice(where),
                    load_precise=None if dtype == torch.float32 else precise,
                )
        except MemoryError as err:
            raise DeviceFull(f"{where} has no memory for the weights: {err}") from err

    def prepare(self, image: RgbImage) -> Tensor:
        """Return `(3, 1024, 1024)` uint8, on the device if it was made there.

        See `worker.inference.pixels.preprocess.prepare`.

        Raises:
            DeviceLost: If the device fails; the image is not the cause.
        """
        height, width, _ = image.shape
        prepared = self._try_on_device(height * width, lambda device: device.prepare(image))
        return preprocess.prepare(image) if prepared is None else prepared

    def launch(self, batch: Sequence[Prepared]) -> Pass[Tensor]:
        """Start the network over *batch*, which may be empty; on a CPU, run it.

        Returns:
            Its outputs are `(1024, 1024)` float32 from 0 to 1 for each image, on the device, made
            in as many parts as memory requires. Collecting it raises:

            * `PassFailed` if a batch of several images fails: run each of them alone;
            * `InferenceFailed` if a single image fails, also in fp32, and a blank one does not;
            * `DeviceLost` if a single image fails, and a blank one too;
            * `DeviceFull` if the device has no memory for one image.
        """
        return self._diagnosis.launch(cast("Sequence[Tensor]", batch))  # no other one made them

    def forward(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """Launch *batch* and collect its outputs; see `launch`."""
        return list(self.launch(batch).collect())

    def check(self) -> None:
        """Run the network over a blank image; see `Diagnosis.check`."""
        self._diagnosis.check()

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Convert one output of `forward` to a mask; see `postprocess.finish`.

        Raises:
            DeviceLost: If the device fails; the image is not the cause.
            MemoryError: If there is no memory to copy the output to.
        """
        tensor = cast("Tensor", output)
        segmented = self._try_on_device(
            height * width, lambda device: device.finish(tensor, height, width, stretch=stretch)
        )
        if segmented is not None:
            return segmented
        with translated(self.device, "outside the network", fault=DeviceLost):
            on_cpu = tensor.cpu()
        return postprocess.finish(on_cpu.numpy(), height, width, stretch=stretch)

    def compose(self, image: RgbImage, mask: Mask, *, edges: Edges) -> Cutout:
        """Return a cutout; see `Model.compose`. Only estimated edges are worth the transfer."""
        composed: Cutout | None = None
        if edges == "estimate":
            composed = self._try_on_device(
                mask.size, lambda device: device.compose(image, mask, edges=edges)
            )
        return compose(image, mask, edges=edges) if composed is None else composed

    def _try_on_device(self, pixels: int, call: Callable[[OnDevice], T]) -> T | None:
        """Return the result of *call* on the device, or None if the CPU is to do the work."""
        if self._on_device is None or pixels > preprocess.MAX_FLOAT_PIXELS:
            return None
        try:
            with translated(self.device, "outside the network"):
                return call(self._on_device)
        except MemoryError:
            return None
        except PassFailed as err:
            # After most errors every call fails, so one that works shows that the image is odd.
            with translated(self.device, f"a test after this: {err}", fault=DeviceLost):
                torch.ones(1, device=self.device).sum().item()
            logger.warning("image is processed on the CPU", extra={"cause": str(err)})
            return None
