"""Read the GPU's own figures from its driver, through NVML (package `nvidia-ml-py`)."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

logger = logging.getLogger(__name__)

_CORE: Final = 0
"""NVML's number for the sensor on the chip."""
TEXTS: Final = {
    "memory_used_bytes": "Memory of the GPU that all its processes use.",
    "memory_bytes": "Memory of the GPU.",
    "utilisation_ratio": "Share of the last second in which any kernel ran on the GPU.",
    "temperature_celsius": "Temperature of the GPU.",
}
"""Help texts of the figures, by name."""


class Nvml(Protocol):
    """The part of the module `pynvml` that is used here."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        """Load the driver's library."""

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:  # noqa: N802 - NVML's name
        """Return the device with this UUID."""

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Any:  # noqa: ANN401, N802 - a C structure
        """Return `used` and `total`, in bytes."""

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> Any:  # noqa: ANN401, N802 - a C structure
        """Return `gpu`: the share of the last second in which a kernel ran, in percent."""

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:  # noqa: N802 - NVML's name
        """Return degrees Celsius."""


def _import() -> Nvml:
    import pynvml  # noqa: PLC0415 - optional

    return cast("Nvml", pynvml)


def load_nvml(find: Callable[[], Nvml] = _import) -> Nvml | None:
    """Return NVML, or None if its package or the driver is missing.

    Args:
        find: Returns the module; raises `ImportError` if there is none.
    """
    try:
        nvml = find()
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as err:
        logger.info("no figures of the GPU", extra={"cause": str(err)})
        return None
    return nvml


class GpuFigures:
    """The figures of the GPU with a UUID: those of all its processes, not of this one alone."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._handles: dict[str, object] = {}

    def read(self, uuid: str) -> dict[str, float]:
        """Return figures by name; leave out what the device does not report, as a MIG slice."""
        try:
            if uuid not in self._handles:
                self._handles[uuid] = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        except self._nvml.NVMLError:
            return {}
        handle = self._handles[uuid]
        figures: dict[str, float] = {}
        readers: tuple[Callable[[object], Mapping[str, float]], ...] = (
            self._memory,
            self._utilisation,
            self._temperature,
        )
        for read in readers:
            try:
                figures |= read(handle)
            except self._nvml.NVMLError:
                continue
        return figures

    def _memory(self, handle: object) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return {"memory_used_bytes": memory.used, "memory_bytes": memory.total}

    def _utilisation(self, handle: object) -> dict[str, float]:
        return {"utilisation_ratio": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100}

    def _temperature(self, handle: object) -> dict[str, float]:
        celsius = self._nvml.nvmlDeviceGetTemperature(handle, _CORE)
        return {"temperature_celsius": float(celsius)}
