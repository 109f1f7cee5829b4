"""Preprocess and postprocess on the device itself: whole pictures up, finished masks down.

The same arithmetic as `preprocess` and `postprocess`, in torch's own operators; those two are what
a CPU does. Pool threads call this while the network runs: each thread has a stream of its own, on
which its copies go beside the network's work.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)

from worker.imaging.types import Segmented
from worker.inference.architectures.isnet.network import SIDE_PX
from worker.inference.devices import wait_for
from worker.inference.pixels.postprocess import is_empty

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from worker.imaging.types import RgbImage


AT_ONCE: Final = 2
"""Pictures prepared or finished at a time: each takes up to 16 bytes a pixel of the device."""


class OnDevice:
    """Resizes pictures and masks on *device*; safe in any thread.

    Everything handed over is finished: whoever takes it may use it on any stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._mine = threading.local()
        self._turns = threading.Semaphore(AT_ONCE)

    @torch.inference_mode()
    def prepare(self, image: RgbImage) -> Tensor:
        """Upload a picture and resize it; see `worker.inference.pixels.preprocess.prepare`.

        Returns:
            `(3, 1024, 1024)` uint8 on the device.

        Raises:
            RuntimeError: What torch raises, also where the device has no memory for it.
        """
        with self._stream():
            host = self._on_host(image.shape)
            np.copyto(host.numpy(), image)
            with self._turns:
                whole = host.to(self._device).permute(2, 0, 1)[None].float()
                small = F.interpolate(whole, (SIDE_PX, SIDE_PX), mode="bilinear")[0]
                prepared = small.to(torch.uint8)
                wait_for(self._device)
        return prepared

    @torch.inference_mode()
    def finish(self, output: Tensor, height: int, width: int, *, stretch: str) -> Segmented:
        """Resize, stretch and quantise one output; see `postprocess.finish`.

        Args:
            output: `(1024, 1024)` float32 from 0 to 1, on the device.
            height: Rows of the picture, in pixels.
            width: Columns of the picture, in pixels.
            stretch: `guarded` or `seed`.

        Raises:
            RuntimeError: What torch raises, also where the device has no memory for it.
        """
        with self._stream(), self._turns:
            resized = F.interpolate(output[None, None], (height, width), mode="bilinear")[0, 0]
            range_ = torch.stack(torch.aminmax(resized))
            wait_for(self._device)
            low, high = range_.tolist()
            if is_empty(low, high, stretch):
                return Segmented(np.zeros((height, width), np.uint8), low, high)
            stretched = resized.sub_(range_[0]).div_(range_[1] - range_[0]).mul_(255)
            mask = self._on_host((height, width)).copy_(stretched.to(torch.uint8))
        return Segmented(mask.numpy(), low, high)

    def _on_host(self, shape: tuple[int, ...]) -> Tensor:
        """Return memory that the device copies from and to by itself, where it can.

        Copies wait all the same: after one that does not, torch asks the device about it when the
        memory is freed, and ends the process if the device has failed meanwhile.
        """
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")

    def _stream(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._mine, "stream"):
            # Otherwise leaving the stream would select, and so set up, the first device.
            torch.cuda.set_device(self._device)
            self._mine.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch
        return torch.cuda.stream(self._mine.stream)
