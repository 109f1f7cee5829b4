"""Run one pass of the network over prepared images on its device."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.inference.devices import wait_for


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

    @torch.inference_mode()
    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Run the network once over all *images*; return when the device has finished.

        Args:
            images: Each `(3, 1024, 1024)` uint8, on the device or on the CPU.

        Returns:
            For each image `(1024, 1024)` float32 from 0 to 1, on the device.

        Raises:
            RuntimeError: Any error of torch; see `worker.inference.torch_errors`.
        """
        # Stacking (H, W, C) puts the batch into channels-last layout.
        rows = [image.to(self.device).permute(1, 2, 0) for image in images]
        x = torch.stack(rows).permute(0, 3, 1, 2)
        x = x.float().div_(255).sub_(0.5).to(self.dtype)
        outputs: Tensor = self._network(x)[:, 0]
        wait_for(self.device)
        # Copies, as a view would keep the whole batch in memory until its last image is finished.
        return [output.clone() for output in outputs] if len(outputs) > 1 else list(outputs)

    def free_cached_memory(self) -> None:
        """Release the memory that the device's allocator caches, after a pass that did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
