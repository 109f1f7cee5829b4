"""The network by way and batch size: time, memory and difference from the plain way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle

import torch
from torch import Tensor, nn

from benchmarks.gpu.common import (
    DEVICE,
    DTYPES,
    IS_CUDA,
    LOW,
    TOLERANCE,
    apart,
    emit,
    images,
    segmenter,
    synchronize,
    timed_ms,
    weights,
)
from benchmarks.gpu.ways import WAYS, Run, on_device
from benchmarks.network import flop_an_image
from worker.inference.architectures import FuseFor, load_network

BATCHES = (1, 2, 4, 8, 16, 32) if IS_CUDA else (1,)


def network(way: str) -> None:
    """Measure one way at every batch size, on inputs that change from pass to pass."""
    flop, reference, prepared = flop_an_image(), plain(), prepare()
    for size in BATCHES:
        batches = inputs(prepared, size)
        expected = reference(batches[1]).clone()
        begun_s = time.perf_counter()
        run = WAYS[way](plain(fused=way == "eager"), batches[0])
        run(batches[0])
        synchronize()
        first_s = time.perf_counter() - begun_s
        if IS_CUDA:
            torch.cuda.reset_peak_memory_stats()
        turns = cycle(batches)
        times = timed_ms(partial(_run_next, run, turns))
        worst = apart(run(batches[1]), expected)
        emit(
            "network",
            way=way,
            precision=LOW,
            batch=size,
            ms_an_image=round(times.median / size, 4),
            least=round(times.least / size, 4),
            most=round(times.most / size, 4),
            images_s=round(1000 * size / times.median, 1),
            tflop_s=round(flop * size / times.median / 1e9, 1),
            first_s=round(first_s, 1),
            peak_mib=round(torch.cuda.max_memory_allocated() / 2**20) if IS_CUDA else None,
            worst=worst,
            ok=worst <= TOLERANCE[LOW],
        )


def plain(*, fused: bool = True) -> nn.Module:
    """Return the network in the precision of a worker, on the device; *fused* on a CPU only."""
    fuse_for: FuseFor | None = "cpu" if fused and not IS_CUDA else None
    network = load_network("isnet", weights(), DTYPES[LOW], fuse_for=fuse_for).to(DEVICE)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in its stub


def prepare() -> list[Tensor]:
    """Return photographs, prepared."""
    used = segmenter()
    return [used.prepare(each).cpu() for each in images(4 if IS_CUDA else 2)]


def inputs(prepared: Sequence[Tensor], size: int) -> list[Tensor]:
    """Return two different batches of *size* prepared photographs."""
    count = len(prepared)
    stacks = [torch.stack([prepared[(k + n) % count] for k in range(size)]) for n in range(2)]
    return [on_device(stack.float().div(255).sub(0.5), DTYPES[LOW]) for stack in stacks]


def _run_next(run: Run, turns: Iterator[Tensor]) -> Tensor:
    return run(next(turns))
