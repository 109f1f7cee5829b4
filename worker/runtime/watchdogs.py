"""What ends a process that looks alive and is not: a blocked loop, a hung stage, a swollen heap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from worker.engine.engine import Engine
from worker.monitoring.liveness import (
    EVERY_S,
    LoopStamp,
    hung,
    memory_limit_bytes,
    stuck,
    too_large,
)
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

UNFIT_EXIT: Final = 70
"""Exit code of a process that can do no more work; its supervisor starts another."""


@dataclass(frozen=True)
class Check:
    """One thing to look at, and how the process leaves if it is wrong."""

    wrong: Callable[[], str | None]
    """What is wrong, or None."""
    exit_code: int


class Watchdogs:
    """Looks at everything once a second, and leaves at the first thing that is wrong."""

    def __init__(self, checks: Sequence[Check], leave: Callable[[int], None]) -> None:
        self._checks = checks
        self._leave = leave

    def start(self) -> None:
        """Begin to look, in a thread of their own."""
        threading.Thread(target=self._serve, name="watchdogs", daemon=True).start()

    def _serve(self) -> None:
        while True:
            time.sleep(EVERY_S)
            for check in self._checks:
                if (reason := check.wrong()) is not None:
                    logger.critical("leaving", extra={"cause": reason, "exit": check.exit_code})
                    self._leave(check.exit_code)
                    return


def checks_of(settings: WorkerSettings, engine: Engine, loop: LoopStamp) -> tuple[Check, ...]:
    """Return what is looked at in a worker."""
    limit_bytes = memory_limit_bytes(settings)
    # A hung engine first loses its leases; only then is it certain to be of no more use.
    hung_s = settings.stall_s + settings.lease_s

    return (
        Check(loop.wrong, UNFIT_EXIT),
        Check(lambda: stuck(engine), UNFIT_EXIT),
        Check(lambda: hung(engine, hung_s), UNFIT_EXIT),
        Check(lambda: too_large(limit_bytes), 0),
    )
