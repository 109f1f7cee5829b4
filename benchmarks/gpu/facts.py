"""The machine and its ceilings: memory, link and matrix products."""

from __future__ import annotations

import os
import platform
import subprocess
from typing import Any

import torch

from benchmarks.gpu.common import DEVICE, IS_CUDA, emit, timed_ms
from benchmarks.network import matrix_rate

_LINK_BYTES = 12_000_000
"""An image of 2000 x 2000."""
_COPY_BYTES = 2**30


def facts() -> None:
    """Print versions and, on CUDA, the ceilings that the other figures are compared with."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cores": os.cpu_count(),
    }
    if IS_CUDA:
        found |= _gpu() | _ceilings()
    emit("facts", **found)


def _gpu() -> dict[str, Any]:
    of = torch.cuda.get_device_properties(DEVICE)
    query = "driver_version,pcie.link.gen.current,pcie.link.width.current,clocks.sm,power.limit"
    asked = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "gpu": of.name,
        "multiprocessors": of.multi_processor_count,
        "memory_gib": round(of.total_memory / 2**30, 1),
        query: asked.stdout.strip(),
    }


def _ceilings() -> dict[str, float]:
    host = torch.empty(_LINK_BYTES, dtype=torch.uint8, pin_memory=True)
    device = host.to(DEVICE)
    one = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=DEVICE).random_()
    other = torch.empty_like(one)
    to_device = timed_ms(lambda: device.copy_(host, non_blocking=True)).median
    to_host = timed_ms(lambda: host.copy_(device, non_blocking=True)).median
    copied = timed_ms(lambda: other.copy_(one)).median
    rate = matrix_rate("cuda", torch.float16, least_s=0.5)
    return {
        "to_device_gb_s": round(_LINK_BYTES / to_device / 1e6, 1),
        "to_host_gb_s": round(_LINK_BYTES / to_host / 1e6, 1),
        "copy_tb_s": round(2 * _COPY_BYTES / copied / 1e9, 2),
        "fp16_tflop_s": round(rate / 1e12),
    }
