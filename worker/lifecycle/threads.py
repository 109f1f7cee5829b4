"""The one place where the worker starts threads, and what happens when one of them fails."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker.lifecycle.shutdown import UNFIT_EXIT, Phase, Shutdown

logger = logging.getLogger(__name__)

MAX_FAILURES: Final = 3
"""Failures in a row after which a loop is beyond repair and the process leaves."""
AGAIN_S: Final = 1.0
"""Pause of such a loop between two rounds, in seconds: the process needs it until it has left."""


class FailureCounter:
    """Counts unexpected errors in a row; at `MAX_FAILURES` the process leaves with `UNFIT_EXIT`.

    Safe to use from several threads.
    """

    def __init__(self, name: str, shutdown: Shutdown) -> None:
        """Count the failures of *name*, which the log shows."""
        self.name = name
        self.shutdown = shutdown
        self._failures = 0
        self._lock = threading.Lock()

    @property
    def are_too_many(self) -> bool:
        """Whether the process leaves because of them."""
        return self._failures >= MAX_FAILURES

    def note(self, err: BaseException) -> None:
        """Log *err* and count it."""
        with self._lock:
            self._failures += 1
            failures = self._failures
        log_unexpected("loop failed", err, loop=self.name, failures=failures)
        if failures == MAX_FAILURES:
            reason = f"the loop {self.name!r} failed {failures} times in a row"
            self.shutdown.drain(reason, UNFIT_EXIT)

    def clear(self) -> None:
        """Note a success: the next failure is the first one again, unless the process leaves."""
        with self._lock:
            if not self.are_too_many:
                self._failures = 0


def log_unexpected(message: str, err: BaseException, **facts: object) -> None:
    """Log an error that nobody expected, with its traceback; raise nothing."""
    with suppress(BaseException):  # such as another MemoryError
        logger.error(message, extra=facts, exc_info=err)


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

    Any exception is logged and the loop goes on, also while the process leaves, which it does with
    `UNFIT_EXIT` after `MAX_FAILURES` in a row: see `FailureCounter`.

    Args:
        name: Name of the thread, and of the loop in the log.
        step: One round. It catches what it expects; what escapes is a bug.
        args: Arguments of *step*.
        shutdown: Ends the loop, and takes the request to leave.
        every_s: Seconds between the end of a round and the start of the next.
        outages: Errors that skip the rest of a round and do not count as failures.
    """
    failures = FailureCounter(name, shutdown)
    return start_thread(name, _run_loop, lambda: step(*args), failures, every_s, outages)


def start_pool(
    name: str, threads: int, step: Callable[..., bool | None], *args: object, shutdown: Shutdown
) -> list[threading.Thread]:
    """Run the loop of `start_loop` in several threads, which count their failures together.

    With a counter per thread, a step that always fails could fail up to three times in each of
    them, and cost as many items, before the process leaves.

    Args:
        name: Name of the pool in the log; its threads are `NAME-0`, `NAME-1` and so on.
        threads: How many threads.
        step: One round, which waits for its work itself.
        args: Arguments of *step*.
        shutdown: See `start_loop`.
    """
    failures = FailureCounter(name, shutdown)

    def call() -> bool | None:
        return step(*args)

    return [
        start_thread(f"{name}-{number}", _run_loop, call, failures, 0.0, ())
        for number in range(threads)
    ]


def _run_loop(
    step: Callable[[], bool | None],
    failures: FailureCounter,
    every_s: float,
    outages: tuple[type[Exception], ...],
) -> None:
    while True:
        try:
            if step() is False:
                return
            failures.clear()
        except outages as err:
            failures.clear()
            logger.warning("loop skips a round", extra={"loop": failures.name, "cause": str(err)})
        except BaseException as err:  # noqa: BLE001 - a thread that ends leaves its process deaf
            failures.note(err)
        pause_s = max(every_s, AGAIN_S if failures.are_too_many else 0.0)
        if pause_s and failures.shutdown.wait(Phase.STOPPED, pause_s):
            return
