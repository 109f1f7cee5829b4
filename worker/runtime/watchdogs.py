"""End a process that looks alive and is not, so that its supervisor starts another."""

import logging

from worker.engine import Engine
from worker.lifecycle import UNFIT_EXIT, Shutdown, start_loop
from worker.monitoring.liveness import EVERY_S, LoopStamp, blocked, hung, stuck, too_large

logger = logging.getLogger(__name__)


def start_watchdogs(
    shutdown: Shutdown, *, engine: Engine, loop: LoopStamp, hung_s: float, memory_limit_bytes: int
) -> None:
    """Check once a second, and make the process leave at the first thing that is wrong.

    Args:
        shutdown: Takes the request to leave.
        engine: Must move its items.
        loop: Celery's event loop, which must run.
        hung_s: How long no item may move; more than a lease, so that a hung engine has lost its
            tickets.
        memory_limit_bytes: Resident memory at which the process leaves.
    """

    def check() -> bool:
        """Leave if anything is wrong; return whether to go on."""
        # Of a batch that hangs, the items cannot be released: only they are blamed, when the leases
        # of their tickets expire.
        findings = (
            (blocked(loop), UNFIT_EXIT, True),
            (stuck(engine), UNFIT_EXIT, True),
            (engine.overdue_pass(), UNFIT_EXIT, False),
            (hung(engine, hung_s), UNFIT_EXIT, True),
            (too_large(memory_limit_bytes), 0, True),
        )
        for reason, exit_code, blames_items in findings:
            if reason is not None:
                logger.critical("leaving", extra={"cause": reason, "exit": exit_code})
                shutdown.drain(reason, exit_code, blames_items=blames_items)
                return False
        return True

    start_loop("watchdogs", check, shutdown=shutdown, every_s=EVERY_S)
