"""Tell the type of the configured device before any model is loaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

DeviceKind: TypeAlias = Literal["cpu", "cuda"]

DRIVERS: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))
"""What the drivers of GPUs create: NVIDIA's, that of WSL, AMD's."""


def count_devices() -> int:
    """Return how many CUDA devices torch can use, without initialising CUDA."""
    from worker.inference.cuda_support import CudaFacts  # noqa: PLC0415 - imports torch

    return CudaFacts.read().devices


def device_kind(
    name: str,
    *,
    drivers: Sequence[Path] = DRIVERS,
    count: Callable[[], int] = count_devices,
) -> DeviceKind:
    """Return the type of device that `pick_device` will choose for *name*.

    Whether the device exists and works shows when a model is loaded. Importing torch takes a
    second, so it is only asked on machines with the driver of a GPU.
    """
    if name != "auto":
        return "cuda" if name.startswith("cuda") else "cpu"
    has_driver = any(path.exists() for path in drivers)
    return "cuda" if has_driver and count() else "cpu"
