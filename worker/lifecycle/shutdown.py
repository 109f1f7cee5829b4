"""The shutdown of this process: whether it is leaving, why, and with which exit code."""

import logging
import threading
from enum import IntEnum
from queue import SimpleQueue
from typing import Final

logger = logging.getLogger(__name__)

UNFIT_EXIT: Final = 70
"""Exit code of a process that cannot do any more work; its supervisor starts another."""


class Phase(IntEnum):
    """How far the shutdown of the process has got; it never goes back."""

    RUNNING = 0
    DRAINING = 1
    """Start no new work, finish what is past the network, and defer the rest."""
    HURRIED = 2
    """Also stop waiting for services that do not answer."""
    STOPPED = 3
    """All work has ended; background loops end too."""


class Shutdown:
    """The phase of this process, for everything that has to know it or to wait for it.

    `request` is safe in a signal handler; every other method is safe in any thread.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._changed = threading.Condition()
        self._asked = threading.Event()
        self._phase = Phase.RUNNING
        self.exit_code = 0
        """Exit code that the process should end with; the highest one asked for."""
        self.blames_items = False
        """Whether any item inside may be why the process leaves, so that it counts as a death."""

    @property
    def is_draining(self) -> bool:
        """Whether the process is leaving."""
        return self._phase >= Phase.DRAINING

    @property
    def is_hurried(self) -> bool:
        """Whether the process no longer waits for services that do not answer."""
        return self._phase >= Phase.HURRIED

    @property
    def is_unfit(self) -> bool:
        """Whether the process leaves because it cannot do any more work."""
        return self.is_draining and self.exit_code == UNFIT_EXIT

    def request(self, reason: str, exit_code: int = 0) -> None:
        """Ask for `drain` from a signal handler; `serve_requests` carries it out."""
        self._requests.put((reason, exit_code))

    def serve_requests(self) -> None:
        """Wait for one request and carry it out. Run this in a loop, in its own thread."""
        request = self._requests.get()
        self._asked.set()
        self.drain(*request)

    def wait_asked(self, timeout_s: float) -> bool:
        """Wait until a request of a signal handler has arrived; return False after *timeout_s*."""
        return self._asked.wait(timeout_s)

    def drain(self, reason: str, exit_code: int = 0, *, blames_items: bool = True) -> None:
        """Begin to leave; a repeated call can only raise the exit code.

        With `UNFIT_EXIT`, *blames_items* says whether any item inside may be the cause.
        """
        with self._changed:
            is_first = self._phase is Phase.RUNNING
            self.blames_items |= blames_items and exit_code == UNFIT_EXIT
            self.exit_code = max(self.exit_code, exit_code)
            self._phase = max(self._phase, Phase.DRAINING)
            self._changed.notify_all()
        if is_first:
            logger.info("draining", extra={"cause": reason, "exit": exit_code})

    def advance(self, phase: Phase) -> None:
        """Move on to *phase*; do nothing if the process is already there or further."""
        with self._changed:
            self._phase = max(self._phase, phase)
            self._changed.notify_all()

    def wait(self, phase: Phase, timeout_s: float | None = None) -> bool:
        """Wait until the process has reached *phase*; return False after *timeout_s*."""
        with self._changed:
            return self._changed.wait_for(lambda: self._phase >= phase, timeout_s)
