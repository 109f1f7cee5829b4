"""Run one worker of a benchmark: the product's worker, with stand-ins for what is not measured.

Reads its order as JSON from standard input: `env`, the `RMBG_*` variables; `notes`, the file for
the device's figures; `codecs`, whether images are really decoded, encoded and stored; `stored`,
whether constant images are really stored; `image_s`, the time of the device for an image.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.stand_ins import (  # noqa: E402 - sys.path is set above
    DiscSegmenter,
    ImagesInMemory,
    SleepingSegmenter,
    constant_stages,
    model_of,
)
from shared import logging as log  # noqa: E402
from shared.objects import S3Store  # noqa: E402
from worker.app import build_app  # noqa: E402
from worker.runtime.malloc import keep_memory  # noqa: E402
from worker.runtime.process import Worker  # noqa: E402
from worker.settings import WorkerSettings  # noqa: E402

PR_SET_PDEATHSIG: Final = 1


def build(order: dict[str, Any]) -> Worker:
    """Build the worker that *order* describes."""
    settings = WorkerSettings.from_env(order["env"])
    if order["codecs"]:
        return build_app(settings, load=lambda name: model_of(DiscSegmenter(), name))
    segmenter = SleepingSegmenter(image_s=order["image_s"])
    segmenter.note(Path(order["notes"]))
    if order["stored"]:
        return build_app(
            settings, load=lambda name: model_of(segmenter, name), stages=constant_stages
        )
    return build_app(
        settings,
        load=lambda name: model_of(segmenter, name),
        objects=ImagesInMemory(S3Store(settings.services.objects)),
        stages=constant_stages,
    )


if __name__ == "__main__":
    if sys.platform == "linux":  # no worker outlives the benchmark
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log.configure(sys.stderr, json=True)
    keep_memory({})
    sys.exit(build(json.loads(sys.stdin.read())).run())
