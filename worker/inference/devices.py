"""Select device and precision: the configured ones or an error, never a substitute."""

import re
from collections.abc import Callable
from typing import Final

import torch

from shared.errors import DeviceFull, DeviceLost, DeviceMissing, DeviceUnsupported, InvalidOption
from worker.inference.api import Hardware
from worker.inference.batch_size import processor
from worker.inference.cuda_support import CudaFacts
from worker.inference.torch_errors import translated

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS: Final = ("auto", *_DTYPES)
"""Values of `RMBG_PRECISION`."""


def pick_device(name: str, read_facts: Callable[[], CudaFacts] = CudaFacts.read) -> torch.device:
    """Return the device of this name: `auto`, `cpu`, `cuda` (the first one) or `cuda:N`.

    Args:
        name: The device's name.
        read_facts: Asks for CUDA; not called for `cpu`.

    Raises:
        DeviceMissing: If it does not exist. Only `auto` falls back on the CPU.
        DeviceUnsupported: If the driver is too old for torch, with `auto` as well, or torch holds
            no code for the device.
        DeviceLost: If CUDA cannot be initialised.
        DeviceFull: If the device has no memory for CUDA's own data.
        InvalidOption: If the name is unknown.
    """
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name) is None:
        raise InvalidOption(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    facts = read_facts()
    if fault := facts.driver_fault():
        raise DeviceUnsupported(fault)
    if name == "auto" and not facts.devices:
        return torch.device("cpu")
    number = int(name.partition(":")[2] or 0)
    if number >= facts.devices:
        raise DeviceMissing(
            f"device {name!r} not found: torch {facts.torch} sees {facts.devices} CUDA devices"
        )
    if fault := _device_fault(facts, number):
        raise DeviceUnsupported(fault)
    return torch.device("cuda", number)


def _device_fault(facts: CudaFacts, number: int) -> str | None:
    """Return `CudaFacts.device_fault`, with torch's errors translated: it initialises CUDA."""
    try:
        with translated(f"cuda:{number}", "at its start", fault=DeviceLost):
            return facts.device_fault(number)
    except MemoryError as err:
        raise DeviceFull(str(err)) from err


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the data type of a precision; `auto` is the fastest with masks within tolerance.

    That is fp16 on CUDA, bf16 on a CPU that multiplies it in hardware, else fp32.

    Raises:
        InvalidOption: If the precision is unknown or not available on this device.
    """
    if precision not in PRECISIONS:
        raise InvalidOption(f"unknown precision {precision!r}; use one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise InvalidOption("precision 'fp16' needs CUDA; use fp32 or bf16 on a CPU")
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if cpu_multiplies_bf16() else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of *dtype* in `pick_dtype`."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def cpu_multiplies_bf16() -> bool:
    """Return whether this CPU has AVX512-BF16 or AMX; without, bf16 is slower than fp32.

    Not all supported versions of torch have a public function for it. With a version that has
    neither of these private ones, the result is False.
    """
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(check() for name in names if (check := getattr(torch.cpu, name, None)))


def memory_bytes(device: torch.device) -> int | None:
    """Return the memory of a CUDA device; None for a CPU."""
    if device.type == "cpu":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def hardware_of(device: torch.device) -> Hardware:
    """Return what *device* is."""
    if device.type == "cpu":
        return Hardware(processor() or "CPU")
    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", "")  # torch has it for NVIDIA's devices
    return Hardware(properties.name, f"GPU-{uuid}" if uuid else "")


def wait_for(device: torch.device) -> None:
    """Wait until *device* has completed this thread's current stream.

    Sleeps, because by default CUDA waits in a busy loop and occupies a core that could decode.
    """
    if device.type == "cuda":
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch
        done.record(torch.cuda.current_stream(device))
        done.synchronize()
