"""The one place where the worker starts threads, and what happens when one of them fails."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from worker.lifecycle.shutdown import UNFIT_EXIT, Phase, Shutdown

logger = logging.getLogger(__name__)

MAX_FAILURES: Final = 3
"""Failures in a row after which a loop is beyond repair and the process leaves."""


def start_thread(name: str, target: Callable[..., object], *args: object) -> threading.Thread:
    """Run *target* in a daemon thread: it does not keep the process from ending."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


def start_loop(
    name: str,
    step: Callable[..., bool | None],
    *args: object,
    shutdown: Shutdown,
    every_s: float = 0.0,
    outages: tuple[type[Exception], ...] = (),
) -> threading.Thread:
    """Call *step* repeatedly in a thread until it returns False or the process has stopped.

    An exception is logged and the loop goes on; after `MAX_FAILURES` in a row the process leaves
    with `UNFIT_EXIT`.

    Args:
        name: Name of the thread, and of the loop in the log.
        step: One round. It catches what it expects; what escapes is a bug.
        args: Arguments of *step*.
        shutdown: Ends the loop, and takes the request to leave.
        every_s: Seconds between the end of a round and the start of the next.
        outages: Errors that skip the rest of a round and do not count as failures.
    """
    return start_thread(name, _run_loop, name, lambda: step(*args), shutdown, every_s, outages)


def _run_loop(
    name: str,
    step: Callable[[], bool | None],
    shutdown: Shutdown,
    every_s: float,
    outages: tuple[type[Exception], ...],
) -> None:
    failures = 0
    while True:
        try:
            if step() is False:
                return
            failures = 0
        except outages as err:
            failures = 0
            logger.warning("loop skips a round", extra={"loop": name, "cause": str(err)})
        except Exception:
            failures += 1
            logger.exception("loop failed", extra={"loop": name, "failures": failures})
            if failures == MAX_FAILURES:
                shutdown.drain(f"the loop {name!r} failed {failures} times in a row", UNFIT_EXIT)
                return
        if every_s and shutdown.wait(Phase.STOPPED, every_s):
            return
