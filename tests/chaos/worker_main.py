"""Run one worker of a chaos run: the product's worker, with stand-ins for images and the network.

`worker_main.py FILE` reads its `Order` from the file. A sabotaged run switches protections off
here; the product has no such switch.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Final

from orders import Marks, Order
from standins import CrashingStore, CrashPoint, RandomImaging, made_model

from shared import logging as log
from shared.objects import S3Store
from worker.app import build_app
from worker.engine.stages import build_stages
from worker.settings import WorkerSettings

NEVER_S: Final = 1e9
READ_TIMEOUT_S: Final = 2.0
"""A tenth of the product's, like all times of a chaos run."""


def main(order: Order) -> int:
    """Serve until SIGTERM, or until the process is killed."""
    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(order.env)
    if order.sabotage == "lost-ticket":
        settings = dataclasses.replace(settings, lost_s=NEVER_S)
    crash_point = CrashPoint(order.stage, order.passages, Marks(order.folder))
    store = S3Store(
        settings.services.objects,
        max_connections=2 * settings.io_threads + 4,
        connect_timeout_s=1.0,
        read_timeout_s=READ_TIMEOUT_S,
    )
    worker = build_app(
        settings,
        load=lambda name: made_model(name, crash_point),
        objects=CrashingStore(store, crash_point, blind=order.sabotage == "if-none-match"),
        stages=lambda writer: build_stages(writer, RandomImaging(crash_point), version="chaos"),
    )
    return worker.run()


if __name__ == "__main__":
    sys.exit(main(Order.read(Path(sys.argv[1]))))
