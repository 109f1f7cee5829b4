"""One pass of the network over some prepared pictures, on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

_MEMORY_SIGNS: Final = (
    "out of memory",
    "can't allocate memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""In the texts of torch's plain `RuntimeError`s: CUDA's, the CPU allocator's, the libraries'."""


class Forward:
    """A network on its device, fed with uint8.

    Args:
        network: In its type already (`worker.model.network.lower`). Takes
            `(N, 3, 1024, 1024)` from -0.5 to 0.5; see `worker.model.network.Network.forward`.
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
            RuntimeError: What torch raises; see `is_out_of_memory`.
        """
        # Stacked as rows of pixels, the batch lies channels last.
        rows = [picture.to(self.device).permute(1, 2, 0) for picture in pictures]
        x = torch.stack(rows).permute(0, 3, 1, 2)
        x = x.float().div_(255).sub_(0.5).to(self.dtype)
        outputs: Tensor = self._network(x)[:, 0]
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return list(outputs)

    def free_cached_memory(self) -> None:
        """Give back what the device's allocator keeps, after a pass that did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(err: BaseException) -> bool:
    """Say whether *err* means that the batch did not fit, so that a smaller one may."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(sign in str(err) for sign in _MEMORY_SIGNS)
