"""State of the device of this process: working, full or lost."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from shared.errors import DeviceFull, WorkerUnfit


class DeviceCheck(Protocol):
    """Runs a blank image on the device in a new process."""

    def __call__(self) -> bool:
        """Return whether that succeeds."""


class DeviceState:
    """Safe to use from several threads.

    Args:
        works: Checks the device.
        clock: Returns seconds.
    """

    def __init__(self, works: DeviceCheck, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.works = works
        self._clock = clock
        self._full_since_s: float | None = None
        self._lock = threading.Lock()
        self._is_lost = False
        self.fault: str | None = None
        """Why this process leaves, if no item is the cause: a new process would fail, too."""

    def ran(self) -> None:
        """Note that a batch has run."""
        self._full_since_s = None

    def full_s(self) -> float:
        """Note that there is no memory for one image; return for how long there has been none."""
        now_s = self._clock()
        self._full_since_s = self._full_since_s or now_s
        return now_s - self._full_since_s

    def leave(self, error: WorkerUnfit) -> bool:
        """Note that the process leaves because of *error*; return whether an item may be the cause.

        An item is suspected if the device works in a new process. This is found out once; callers
        in other threads wait for it.
        """
        with self._lock:
            if not self._is_lost:
                self._is_lost = True
                if isinstance(error, DeviceFull) or not self.works():
                    self.fault = f"device: {error}"
            return self.fault is None
