"""Preprocess, postprocess and compose on the device: upload whole images, download results.

The same arithmetic as on the CPU, with torch operators.
Pool threads call this while the network runs. Each thread has its own CUDA stream, so that its
copies overlap with the network.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from torch import Tensor

from worker.imaging.compose import Edges
from worker.imaging.types import Cutout, Mask, RgbImage, Segmented
from worker.inference.architectures.isnet.network import SIDE_PX
from worker.inference.devices import wait_for
from worker.inference.pixels import cutouts
from worker.inference.pixels.postprocess import is_empty
from worker.inference.pixels.window_layers import LayerTables

AT_ONCE: Final = 2
"""Images prepared, finished or composed at once: each takes up to 16 bytes per pixel of device
memory, with estimated edges up to 0.7 GB more."""


class OnDevice:
    """Resizes images and masks and composes cutouts on *device*; thread-safe.

    All results are complete when they are returned and can be used on any stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._local = threading.local()
        self._slots = threading.Semaphore(AT_ONCE)
        self._tables = LayerTables(device)

    @torch.inference_mode()
    def prepare(self, image: RgbImage) -> Tensor:
        """Upload an image and resize it; see `worker.inference.pixels.preprocess.prepare`.

        Returns:
            `(3, 1024, 1024)` uint8 on the device.

        Raises:
            RuntimeError: Any error of torch, also when the device is out of memory.
        """
        with self._stream():
            host = self._on_host(image.shape)
            np.copyto(host.numpy(), image)
            with self._slots:
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
            height: Rows of the image, in pixels.
            width: Columns of the image, in pixels.
            stretch: `guarded` or `seed`.

        Raises:
            RuntimeError: Any error of torch, also when the device is out of memory.
        """
        with self._stream(), self._slots:
            resized = F.interpolate(output[None, None], (height, width), mode="bilinear")[0, 0]
            range_ = torch.stack(torch.aminmax(resized))
            wait_for(self._device)
            low, high = range_.tolist()
            if is_empty(low, high, stretch):
                return Segmented(np.zeros((height, width), np.uint8), low, high)
            stretched = resized.sub_(range_[0]).div_(range_[1] - range_[0]).mul_(255)
            mask = self._on_host((height, width)).copy_(stretched.to(torch.uint8))
        return Segmented(mask.numpy(), low, high)

    @torch.inference_mode()
    def compose(self, image: RgbImage, mask: Mask, *, edges: Edges) -> Cutout:
        """Return the cutout of *image*; equals `worker.imaging.compose.compose`.

        Raises:
            RuntimeError: Any error of torch, also when the device is out of memory.
        """
        with self._stream():
            hosts = self._on_host(image.shape), self._on_host(mask.shape)
            np.copyto(hosts[0].numpy(), image)
            np.copyto(hosts[1].numpy(), mask)
            with self._slots:
                colours, alphas = (host.to(self._device) for host in hosts)
                composed = cutouts.compose(colours, alphas, self._tables, edges=edges)
                cutout = self._on_host((*mask.shape, 4)).copy_(composed)
        return cutout.numpy()

    def _on_host(self, shape: tuple[int, ...]) -> Tensor:
        """Return host memory, pinned for CUDA so that the device can access it directly.

        Copies are still synchronous. After an asynchronous one, torch queries the device when the
        memory is freed, and aborts the process if the device has failed in the meantime.
        """
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")

    def _stream(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._local, "stream"):
            # Without this, leaving the stream context would select and initialise the first device.
            torch.cuda.set_device(self._device)
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch
        return torch.cuda.stream(self._local.stream)
