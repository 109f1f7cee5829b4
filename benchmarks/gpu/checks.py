"""Run one check in this process: `python -m benchmarks.gpu.checks NAME`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Final

import torch

from benchmarks.gpu import facts, faults, masks, pipeline, pixels
from benchmarks.gpu.common import DEVICE, IS_CUDA, emit, weights
from benchmarks.gpu.network import network
from benchmarks.gpu.ways import WAYS
from shared import logging as log
from worker.inference.backends import CANDIDATES, BackendName
from worker.inference.engines import Engines
from worker.inference.tensorrt import TensorRt
from worker.runtime.malloc import keep_memory

BEST: Final[BackendName] = "graph" if IS_CUDA else "fused"
CHECKS: Final[dict[str, Callable[[], object]]] = {
    "facts": facts.facts,
    "weights": weights,
    "masks": masks.masks,
    "out-of-memory": faults.out_of_memory,
    "poisoned-image": faults.poisoned_image,
    "lost-device": faults.lost_device,
    "hidden-device": faults.hidden_device,
    **{f"network-{way}": partial(network, way) for way in WAYS},
    **{f"launches-{name}": partial(pipeline.launches, name) for name in CANDIDATES[DEVICE.type]},
    "in-flight": pipeline.in_flight,
    "on-device": pipeline.on_device,
    "engine-source-eager": partial(pipeline.engine, "source", "eager"),
    "engine-source": partial(pipeline.engine, "source", BEST),
    "engine-estimate": partial(pipeline.engine, "estimate", BEST),
    "pixels": pixels.pixels,
    "profile": pipeline.profile,
}


if __name__ == "__main__":
    log.configure(sys.stderr, json=True)
    keep_memory({})  # as in a worker
    with torch.inference_mode():
        lacking = Engines(None, TensorRt()).missing
        if lacking is not None and sys.argv[1].endswith("-tensorrt"):
            emit(sys.argv[1], skipped=lacking)
        else:
            CHECKS[sys.argv[1]]()
