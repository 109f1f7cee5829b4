"""One pass of the network over some prepared pictures, on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from worker.inference.devices import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn


class Forward:
    """A network on its device, fed with uint8.

    Args:
        network: In its type already (`isnet.network.lower`). Takes
            `(N, 3, 1024, 1024)` from -0.5 to 0.5; see `isnet.network.Network.forward`.
        device: Where it runs; the network is moved there, channels last.
        dtype: What it counts in.
    """

    def __init__(self, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        network = network.to(device=device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Run the network once over all *pictures*; returns when the device is done with them.

        Args:
            pictures: Each `(3, 1024, 1024)` uint8, on the device or on the CPU.

        Returns:
            For each `(1024, 1024)` float32 from 0 to 1, on the device.

        Raises:
            RuntimeError: What torch raises; see `worker.inference.torch_errors`.
        """
        # Stacked as rows of pixels, the batch lies channels last.
        rows = [picture.to(self.device).permute(1, 2, 0) for picture in pictures]
        x = torch.stack(rows).permute(0, 3, 1, 2)
        x = x.float().div_(255).sub_(0.5).to(self.dtype)
        outputs: Tensor = self._network(x)[:, 0]
        wait_for(self.device)
        # On their own each: a view would keep the whole batch's until its last picture is drawn.
        return [output.clone() for output in outputs] if len(outputs) > 1 else list(outputs)

    def free_cached_memory(self) -> None:
        """Give back what the device's allocator keeps, after a pass that did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
