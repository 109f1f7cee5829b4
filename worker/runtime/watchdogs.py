"""End a process that looks alive and is not, so that its supervisor starts another."""

import logging
from dataclasses import dataclass

from worker.engine import Engine
from worker.lifecycle import UNFIT_EXIT, Shutdown, start_loop
from worker.monitoring.liveness import EVERY_S, LoopStamp, blocked, hung, stuck, too_large

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Watchdogs:
    """Checks once a second, and makes the process leave at the first thing that is wrong."""

    engine: Engine
    loop: LoopStamp
    hung_s: float
    """How long no item may move; more than a lease, so that a hung engine has lost its tickets."""
    memory_limit_bytes: int

    def start(self, shutdown: Shutdown) -> None:
        """Begin, in a thread of its own."""
        start_loop("watchdogs", self.check, shutdown, shutdown=shutdown, every_s=EVERY_S)

    def check(self, shutdown: Shutdown) -> bool:
        """Leave if anything is wrong; return whether to go on."""
        findings = (
            (blocked(self.loop), UNFIT_EXIT),
            (stuck(self.engine), UNFIT_EXIT),
            (hung(self.engine, self.hung_s), UNFIT_EXIT),
            (too_large(self.memory_limit_bytes), 0),
        )
        for reason, exit_code in findings:
            if reason is not None:
                logger.critical("leaving", extra={"cause": reason, "exit": exit_code})
                shutdown.drain(reason, exit_code)
                return False
        return True
