"""Tell whether the driver and the devices of this machine suit the installed torch."""

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch

_INSTALL: Final = "or install a torch for it (https://pytorch.org/get-started/locally/)"


@dataclass(frozen=True, kw_only=True)
class CudaFacts:
    """CUDA as torch and the driver report it.

    Args:
        torch: Version of torch.
        built_for: Version of CUDA that torch was built for, such as `13.0`; None without CUDA.
        architectures: What torch holds code for, such as `sm_90` and `compute_90`.
        driver: Latest version of CUDA that the driver supports; None if no driver is installed.
        devices: Number of devices that torch can use.
        capability: Returns the compute capability of a device, given its number.
    """

    torch: str
    built_for: str | None
    architectures: Sequence[str]
    driver: tuple[int, int] | None
    devices: int
    capability: Callable[[int], tuple[int, int]]

    @classmethod
    def read(cls) -> Self:
        """Ask torch and the driver, without initialising CUDA."""
        return cls(
            torch=torch.__version__,
            built_for=torch.version.cuda,
            architectures=torch.cuda.get_arch_list(),
            driver=_driver_cuda(),
            devices=torch.cuda.device_count() if torch.cuda.is_available() else 0,
            capability=torch.cuda.get_device_capability,
        )

    def driver_fault(self) -> str | None:
        """Return what to do about a driver that is too old for torch; None if it is not.

        Within one major version of CUDA, an older driver runs newer code.
        """
        if self.devices or self.built_for is None or self.driver is None:
            return None
        major, minor = self.driver
        if major >= int(self.built_for.partition(".")[0]):
            return None
        return (
            f"the NVIDIA driver supports CUDA {major}.{minor} and is too old for torch "
            f"{self.torch}, built for CUDA {self.built_for}; install a driver for CUDA "
            f"{self.built_for}, {_INSTALL}, or set RMBG_DEVICE=cpu"
        )

    def device_fault(self, number: int) -> str | None:
        """Return what to do about a device that torch holds no code for; None if it does.

        Raises:
            Exception: Torch's own error, if CUDA cannot be initialised.
        """
        if not any(re.match(r"(sm|compute)_\d", name) for name in self.architectures):
            return None  # ROCm names its architectures in another way
        major, minor = self.capability(number)
        if any(_runs(name, major, minor) for name in self.architectures):
            return None
        driver = ".".join(map(str, self.driver)) if self.driver else "unknown"
        return (
            f"device cuda:{number} has compute capability {major}.{minor}, and torch {self.torch} "
            f"(CUDA {self.built_for}, driver for CUDA {driver}) holds code for "
            f"{', '.join(self.architectures)} only; use another device, {_INSTALL}, "
            f"or set RMBG_DEVICE=cpu"
        )


def _runs(name: str, major: int, minor: int) -> bool:
    """Return whether code for the architecture *name* runs on a device of this capability."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
    if match is None:
        return False
    kind, suffix = match[1], match[4]
    built = int(match[2]), int(match[3])
    if suffix == "a":  # for exactly this device
        return built == (major, minor)
    if kind == "compute" and not suffix:  # the driver compiles it for any later device
        return built <= (major, minor)
    return built[0] == major and built[1] <= minor


def _driver_cuda() -> tuple[int, int] | None:
    """Return the version of CUDA that the driver supports; None if there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10
