"""One worker process of a chaos run: the product's, with stand-ins where the pictures would be.

Reads its order as JSON from standard input. The protections that a sabotaged run does without are
switched off here, and nowhere in the product.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from standins import Doom, DoomedStore, RandomImaging, made_model

from shared import logging as log
from shared.objects import S3Store
from worker.app import build_app
from worker.engine.stages import build_stages
from worker.settings import WorkerSettings

PR_SET_PDEATHSIG: Final = 1
NEVER_S: Final = 1e9
READ_TIMEOUT_S: Final = 2.0
"""A tenth of the product's, as all times of these runs."""


def main(order: dict[str, Any]) -> int:
    """Serve until SIGTERM, or until something kills us."""
    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(order["env"])
    if order["sabotage"] == "lost-ticket":
        settings = dataclasses.replace(settings, lost_s=NEVER_S)
    doom = Doom(order["stage"], order["passages"], Path(order["calm"]), Path(order["causes"]))
    store = S3Store(
        settings.services.objects,
        max_connections=2 * settings.io_threads + 4,
        connect_timeout_s=1.0,
        read_timeout_s=READ_TIMEOUT_S,
    )
    worker = build_app(
        settings,
        load=lambda name: made_model(name, doom),
        objects=DoomedStore(store, doom, blind=order["sabotage"] == "if-none-match"),
        stages=lambda writer: build_stages(writer, RandomImaging(doom), version="chaos"),
    )
    return worker.run()


def die_with(parent: int) -> None:
    """End with the run that started us, whatever becomes of it, even when we are frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that was said
        sys.exit(1)


if __name__ == "__main__":
    told = json.loads(sys.stdin.read())
    die_with(told["parent"])
    sys.exit(main(told))
