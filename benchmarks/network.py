"""(c) The network alone: time per image by precision and batch size, next to the machine's peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.products import product
from worker.inference.architectures.isnet.network import SIDE_PX, Network
from worker.inference.devices import cpu_multiplies_bf16
from worker.inference.segmenter import Segmenter

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MATRIX_SIDE: Final = {"cpu": 2048, "cuda": 8192}
"""Side of the square matrices whose product measures the machine's peak."""
BATCHES: Final = {"cpu": (1, 2, 4, 8), "cuda": (1, 2, 4, 8, 16, 32)}


def precisions_of(device: str) -> tuple[str, ...]:
    """Return the precisions to measure on *device*, with the reference first."""
    if device == "cuda":
        return "fp32", "bf16", "fp16"
    return ("fp32", "bf16") if cpu_multiplies_bf16() else ("fp32",)


def flop_an_image() -> int:
    """Return the floating-point operations per image, counted by torch without running them."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Network(norm=False)(torch.empty(1, 3, SIDE_PX, SIDE_PX))
    return int(counter.get_total_flops())


def measure(
    weights: Path, *, device: str, rounds: int, batches: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Measure every batch size and a matrix product in turn, *rounds* times per precision."""
    flop = flop_an_image()
    found: dict[str, Any] = {}
    for precision in precisions_of(device):
        segmenter = Segmenter.load(weights, device=device, precision=precision)
        prepared = segmenter.prepare(product(0))
        passes = {
            size: _pass_of(segmenter, [prepared] * size) for size in batches or BATCHES[device]
        }
        times: dict[int, list[float]] = {size: [] for size in passes}
        peaks: list[float] = []
        for turn in range(rounds + 1):
            peak = matrix_rate(device, DTYPES[precision], least_s=0.3)
            for size, run_pass in passes.items():
                seconds = _seconds(run_pass) / size
                if turn:  # the first round is a warm-up
                    times[size].append(seconds)
            peaks += [peak] if turn else []
        found[precision] = _summary(times, statistics.median(peaks), flop)
    return {"device": device, "gflop_an_image": round(flop / 1e9, 1), "precisions": found}


def _pass_of(segmenter: Segmenter, batch: list[torch.Tensor]) -> Callable[[], object]:
    return lambda: segmenter.run_once(batch)


def _summary(times: dict[int, list[float]], peak: float, flop: int) -> dict[str, Any]:
    by_batch = {
        size: {
            "ms_an_image": round(1000 * statistics.median(values), 1),
            "least": round(1000 * min(values), 1),
            "most": round(1000 * max(values), 1),
            "of_peak": round(flop / statistics.median(values) / peak, 3),
        }
        for size, values in times.items()
    }
    return {"matrix_gflop_s": round(peak / 1e9), "batches": by_batch}


def matrix_rate(device: str, dtype: torch.dtype, *, least_s: float) -> float:
    """Return the rate of large matrix products, in floating-point operations per second.

    Takes slightly more than *least_s* seconds.
    """
    side = MATRIX_SIDE[device]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    left @ right
    return 2.0 * side**3 / _seconds(lambda: left @ right, least_s=least_s)


def _seconds(call: Callable[[], object], *, least_s: float = 0.0) -> float:
    """Return the mean seconds per call, over enough calls to take *least_s* seconds."""
    started_s, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started_s < least_s:
        call()
        calls += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return (time.perf_counter() - started_s) / calls
