"""Run one worker of a chaos run: the product's worker, with stand-ins for images and the network.

Reads its order as JSON from standard input, and dies with its parent. Under the product's
supervisor, which must see to that itself, the order is in a file: `worker_main.py FILE`. A
sabotaged run switches protections off here; the product has no such switch.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from standins import CrashingStore, CrashPoint, RandomImaging, made_model

from shared import logging as log
from shared.objects import S3Store
from shared.objects.obstore_config import Limits
from shared.objects.obstore_s3 import ObstoreS3
from worker.app import build_app
from worker.engine.build import worker_limits
from worker.engine.stages import build_stages
from worker.settings import WorkerSettings

PR_SET_PDEATHSIG: Final = 1
NEVER_S: Final = 1e9
READ_TIMEOUT_S: Final = 2.0
"""A tenth of the product's, like all times of a chaos run."""


def main(order: dict[str, Any]) -> int:
    """Serve until SIGTERM, or until the process is killed."""
    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(order["env"])
    if order["sabotage"] == "lost-ticket":
        settings = settings.model_copy(update={"lost_s": NEVER_S})
    crash_point = CrashPoint(
        order["stage"],
        order["passages"],
        stop=Path(order["stop"]),
        causes=Path(order["causes"]),
        lose_device=Path(order["lose_device"]),
    )
    connections = 4 * worker_limits(settings).io_threads + 4
    limits = Limits(
        max_bytes=settings.max_bytes,
        max_connections=connections,
        connect_timeout_s=1.0,
        read_timeout_s=READ_TIMEOUT_S,
    )
    boto3 = S3Store(
        settings.services.objects,
        max_connections=connections,
        connect_timeout_s=limits.connect_timeout_s,
        read_timeout_s=limits.read_timeout_s,
    )
    store = ObstoreS3(settings.services.objects, boto3, limits)
    worker = build_app(
        settings,
        load=lambda name: made_model(name, crash_point),
        objects=CrashingStore(store, crash_point, blind=order["sabotage"] == "if-none-match"),
        stages=lambda writer: build_stages(writer, RandomImaging(crash_point), version="chaos"),
    )
    return worker.run()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when *parent* ends, even while it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before prctl was called
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
    received = json.loads(sys.stdin.read())
    die_with(received["parent"])
    sys.exit(main(received))
