"""Select device and precision: the configured ones or an error, never a substitute."""

import re
from typing import Final

import torch

from shared.errors import DeviceMissing, InvalidOption

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS: Final = ("auto", *_DTYPES)
"""Values of `RMBG_PRECISION`."""


def pick_device(name: str) -> torch.device:
    """Return the device of this name: `auto`, `cpu`, `cuda` (the first one) or `cuda:N`.

    Raises:
        DeviceMissing: If it does not exist. Only `auto` falls back on the CPU.
        InvalidOption: If the name is unknown.
    """
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name) is None:
        raise InvalidOption(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    number = int(name.partition(":")[2] or 0)
    if number >= found:
        raise DeviceMissing(
            f"device {name!r} not found: torch {torch.__version__} sees {found} CUDA devices"
        )
    return torch.device("cuda", number)


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


def wait_for(device: torch.device) -> None:
    """Wait until *device* has completed this thread's current stream.

    Sleeps, because by default CUDA waits in a busy loop and occupies a core that could decode.
    """
    if device.type == "cuda":
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch
        done.record(torch.cuda.current_stream(device))
        done.synchronize()
