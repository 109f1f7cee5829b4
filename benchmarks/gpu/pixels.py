"""Compose cutouts with estimated edges on the device and on the CPU, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from support.soft_masks import soft_mask

from benchmarks.gpu.common import DEVICE, IS_CUDA, emit, timed_ms
from benchmarks.products import product
from worker.imaging.compose import compose
from worker.imaging.foreground import soft_pixels
from worker.imaging.types import Cutout, Mask, RgbImage
from worker.inference.pixels import cutouts
from worker.inference.pixels.on_device import OnDevice
from worker.inference.pixels.window_layers import LayerTables

_SIDE_PX = 2000 if IS_CUDA else 300
_ROUNDS = 20 if IS_CUDA else 1
_THREADS = 8 if IS_CUDA else 1
_SLOPES = {"narrow": 40.0, "wide": 6.0}
"""Edges like those of products, and of hair or fur."""


def pixels() -> None:
    """Print device time, and wall and CPU time an image by each way, for two widths of edges."""
    image = product(0, _SIDE_PX)
    for width, slope in _SLOPES.items():
        _compare(width, image, soft_mask(_SIDE_PX, _SIDE_PX, slope=slope))


def _compare(width: str, image: RgbImage, mask: Mask) -> None:
    used = OnDevice(DEVICE)

    def by_torch() -> Cutout:
        return used.compose(image, mask, edges="estimate")

    def by_numpy() -> Cutout:
        return compose(image, mask, edges="estimate")

    apart = np.abs(by_torch().astype(np.int16) - by_numpy()).max(axis=2)
    differing, most = int(np.count_nonzero(apart)), int(apart.max())
    emit(
        "compose",
        edges=width,
        side_px=_SIDE_PX,
        soft_share=round(float((soft_pixels(mask) > 0).mean()), 4),
        pixels_apart=differing,
        levels_apart=most,
        ok=most <= 1 and differing <= 1e-5 * apart.size,
    )
    tables, on_device = LayerTables(DEVICE), [torch.from_numpy(x).to(DEVICE) for x in (image, mask)]
    times = timed_ms(lambda: cutouts.compose(*on_device, tables, edges="estimate"))
    emit("compose kernels", edges=width, ms=round(times.median, 4), least_ms=round(times.least, 4))
    for threads in sorted({1, _THREADS}):
        _interleaved(width, {"torch": by_torch, "numpy": by_numpy}, threads)


def _interleaved(width: str, ways: dict[str, Callable[[], Cutout]], threads: int) -> None:
    """Run each way in turn, *threads* images at once."""
    spent = {way: [0.0, 0.0] for way in ways}
    with ThreadPoolExecutor(threads) as pool:
        for counts in [False] + [True] * _ROUNDS:
            for way, call in ways.items():
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                for done in [pool.submit(call) for _ in range(threads)]:
                    done.result()
                spent[way][0] += counts * (time.perf_counter() - wall_s)
                spent[way][1] += counts * (time.process_time() - cpu_s)
    made = _ROUNDS * threads
    for way, (wall_s, cpu_s) in spent.items():
        emit(
            "compose by",
            way=way,
            edges=width,
            threads=threads,
            wall_ms=round(1000 * wall_s / made, 3),
            cpu_ms=round(1000 * cpu_s / made, 3),
        )
