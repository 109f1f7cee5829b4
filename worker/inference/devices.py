"""Which device and which arithmetic: what was asked for, or a refusal, never a substitute."""

from __future__ import annotations

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
        DeviceMissing: If it is not there. Only `auto` takes the CPU where CUDA is missing.
        InvalidOption: If there is no such name.
    """
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name) is None:
        raise InvalidOption(f"device {name!r}; it is one of auto, cpu, cuda, cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    number = int(name.partition(":")[2] or 0)
    if number >= found:
        raise DeviceMissing(f"device {name!r}: torch {torch.__version__} sees {found} CUDA devices")
    return torch.device("cuda", number)


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type to count in; `auto` is the fastest whose masks stay within tolerance.

    That is fp16 on CUDA, bf16 on a CPU that multiplies it in hardware, else fp32.

    Raises:
        InvalidOption: If there is no such precision, or not on this device.
    """
    if precision not in PRECISIONS:
        raise InvalidOption(f"precision {precision!r}; it is one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise InvalidOption("precision 'fp16' needs CUDA; a CPU takes fp32 or bf16")
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if cpu_multiplies_bf16() else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """Return the name under which `pick_dtype` knows *dtype*."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def cpu_multiplies_bf16() -> bool:
    """Say whether this CPU has AVX512-BF16 or AMX; without, bf16 is slower than fp32.

    Torch has no public question for it in every version that is supported here, so a version
    that knows neither private one counts as a CPU without.
    """
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(ask() for name in questions if (ask := getattr(torch.cpu, name, None)))


def wait_for(device: torch.device) -> None:
    """Return when *device* has done all that this thread has asked it for on its current stream.

    Sleeps meanwhile: by default CUDA's waits keep a core busy that others could decode on.
    """
    if device.type == "cuda":
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch
        done.record(torch.cuda.current_stream(device))
        done.synchronize()
