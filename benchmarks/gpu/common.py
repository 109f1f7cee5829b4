"""What the checks share: the device, the weights, images and lines of results."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402 - needs the path set above
from support.photographs import NAMES, photograph  # noqa: E402
from support.random_weights import write_random_weights  # noqa: E402
from torch import Tensor  # noqa: E402

from worker.imaging.types import RgbImage  # noqa: E402
from worker.inference.backends import BackendName  # noqa: E402
from worker.inference.segmenter import Segmenter  # noqa: E402

IS_CUDA: Final = os.environ.get("DEV", "cuda") != "cpu"  # noqa: TID251 - a benchmark's own variable
"""Whether a GPU is measured; otherwise tiny sizes try the code on a CPU (`DEV=cpu`)."""
DEVICE: Final = torch.device("cuda", 0) if IS_CUDA else torch.device("cpu")
LOW: Final = "fp16" if IS_CUDA else "bf16"
"""Precision of a worker on this device."""
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE: Final = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.02}
"""Greatest difference of an output, 0 to 1, from the CPU's output in fp32; as in tests/gpu."""


def emit(check: str, **result: Any) -> None:  # noqa: ANN401 - any JSON
    """Print one result as a line of JSON; `ok` says whether it is within its limit, if any."""
    print(json.dumps({"check": check, "device": DEVICE.type, **result}), flush=True)


@cache
def weights() -> Path:
    """Return the file of random weights in the folder of results; write it if it is not there."""
    path = Path(os.environ.get("OUT", "out/gpu"), "random.pth")  # noqa: TID251 - as above
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_random_weights(path)
    return path


def segmenter(precision: str = LOW, backend: BackendName | Literal["auto"] = "auto") -> Segmenter:
    """Return a segmenter with random weights on the device."""
    return Segmenter.load(weights(), device=DEVICE.type, precision=precision, backend=backend)


def images(count: int) -> list[RgbImage]:
    """Return *count* photographs, of at most four different ones in turn."""
    return [photograph(NAMES[number % 4]) for number in range(count)]


def synchronize() -> None:
    """Wait until the device has done everything."""
    if IS_CUDA:
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Times:
    """Times of one call in milliseconds."""

    median: float
    least: float
    most: float


def timed_ms(call: Callable[[], object], *, runs: int = 20, warm_ups: int = 3) -> Times:
    """Measure *call* on the device, by events on CUDA."""
    for _ in range(warm_ups if IS_CUDA else 0):
        call()
    times = [_one_ms(call) for _ in range(runs if IS_CUDA else 1)]
    return Times(statistics.median(times), min(times), max(times))


def _one_ms(call: Callable[[], object]) -> float:
    if not IS_CUDA:
        started_s = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - started_s)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the greatest difference of two tensors."""
    return float((found.float().cpu() - expected.float().cpu()).abs().max())
