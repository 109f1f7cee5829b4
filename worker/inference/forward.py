"""Run passes of the network over prepared images on its device."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from worker.inference.api import Done, Pass
from worker.inference.devices import precision_name

_DIMS: Final = (1, 2)
"""Rows and columns of a batch of outputs."""


class NotFinite(Exception):
    """The network returned a value that is not finite for an image of the batch."""


class Forward:
    """A network on its device, with uint8 input.

    Args:
        network: Already converted to *dtype* (`isnet.network.lower`). Takes `(N, 3, 1024, 1024)`
            from -0.5 to 0.5; see `isnet.network.Network.forward`.
        device: The network is moved there, in channels-last layout.
        dtype: Data type of the network's input.
    """

    def __init__(self, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        network = network.to(device=device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub
        self._cuda = _Cuda(device) if device.type == "cuda" else None

    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Run the network once over all *images*; see `launch` and `Pass.collect`."""
        return list(self.launch(images).collect())

    @torch.inference_mode()
    def launch(self, images: Sequence[Tensor]) -> Pass[Tensor]:
        """Start the network over all *images*; on CUDA return before the device has finished.

        Args:
            images: Each `(3, 1024, 1024)` uint8, on the device or on the CPU.

        Returns:
            Its outputs are `(1024, 1024)` float32 from 0 to 1 for each image, on the device.

        Raises:
            RuntimeError: Any error of torch; see `worker.inference.torch_errors`. Collecting raises
                it, too.
            NotFinite: If an output is not finite; on CUDA only collecting raises it.
        """
        if not images:
            return Done[Tensor](())
        if self._cuda is not None:
            return self._cuda.launch(self, images)
        started_s = time.perf_counter()
        outputs, is_finite = self.queue(images)
        self.check(is_finite)
        return Done(outputs, time.perf_counter() - started_s)

    def queue(self, images: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the outputs, and whether all of them are finite; on CUDA neither is there yet."""
        # Stacking (H, W, C) puts the batch into channels-last layout.
        x = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
        x = x.float().div_(255).sub_(0.5).to(self.dtype)
        outputs: Tensor = self._network(x)[:, 0]
        is_finite = outputs.sum(_DIMS).isfinite().all()
        # Copies, as a view would keep the whole batch in memory until its last image is finished.
        copies = [output.clone() for output in outputs] if len(outputs) > 1 else list(outputs)
        return copies, is_finite

    def check(self, is_finite: Tensor) -> None:
        """Raise `NotFinite` if *is_finite* is false."""
        if not bool(is_finite):
            raise NotFinite(f"a value is not finite ({precision_name(self.dtype)})")

    def free_cached_memory(self) -> None:
        """Release the memory that the device's allocator caches, after a pass that did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class _Cuda:
    """Launches passes on the current stream of a CUDA device; copies have a stream of their own.

    A copy on the stream of the passes would wait for all passes that are queued there.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Without this, leaving the context of a stream would initialise the first device.
        torch.cuda.set_device(device)
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch

    def launch(self, forward: Forward, images: Sequence[Tensor]) -> "_CudaPass":
        """Queue a pass between two events."""
        torch.cuda.set_device(self.device)
        stream = torch.cuda.current_stream(self.device)
        started, done = _event(), _event()
        with torch.cuda.stream(self._copies):
            # These copies are complete when they return, as the memory is not pinned.
            images = [image.to(self.device) for image in images]
        started.record(stream)
        outputs, is_finite = forward.queue(images)
        done.record(stream)
        return _CudaPass(
            cuda=self,
            forward=forward,
            images=images,
            outputs=outputs,
            is_finite=is_finite,
            started=started,
            done=done,
        )

    def read(self, value: Tensor) -> Tensor:
        """Copy *value*, which must be complete, without waiting for the passes that are queued."""
        with torch.cuda.stream(self._copies):
            return value.cpu()


@dataclass(eq=False, kw_only=True)
class _CudaPass:
    """A pass that is queued on a CUDA stream; see `worker.inference.api.Pass`."""

    cuda: _Cuda
    forward: Forward
    images: Sequence[Tensor]
    """Held until the device has read them: their memory belongs to other streams, which would use
    it again."""
    outputs: list[Tensor]
    is_finite: Tensor
    started: torch.cuda.Event
    done: torch.cuda.Event
    device_s: float = 0.0

    def collect(self) -> list[Tensor]:
        """See `Pass.collect`."""
        self.done.synchronize()
        self.images = ()
        self.device_s = self.started.elapsed_time(self.done) / 1000
        self.forward.check(self.cuda.read(self.is_finite))
        return self.outputs


def _event() -> torch.cuda.Event:
    """Return an event that is waited for in sleep, not in a busy loop that takes a core."""
    return torch.cuda.Event(blocking=True, enable_timing=True)  # type: ignore[no-untyped-call]  # torch
