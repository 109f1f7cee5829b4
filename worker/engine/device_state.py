"""State of the device of this process: working, full, faulty or lost."""

import threading
import time
from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Final, Protocol

from shared.errors import DeviceFaulty, DeviceFull, WorkerUnfit

MAX_SUSPECTS: Final = 3
"""Different images that fail alone, with none that passes in between, from which on the device is
to blame (docs/adr/0068)."""
MAX_TRIES: Final = 3
"""Tries of an image that fails alone, after which it or the device is to blame although no other
image has run."""


class Blame(Enum):
    """Why the network fails on an image alone."""

    IMAGE = auto()
    UNKNOWN = auto()
    """Nothing else has run on the device since: try it again a little later."""
    DEVICE = auto()


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
        self._ran = 0
        self._suspects: dict[Hashable, tuple[int, int]] = {}
        """For each image that failed alone: how many had run before, and how often it failed."""
        self.fault: str | None = None
        """Why this process leaves, if no item is the cause: a new process would fail, too."""

    def ran(self) -> None:
        """Note that an image has run."""
        self._full_since_s = None
        self._ran += 1
        if self._suspects:
            self._forget_ended()

    def failed_on(self, image: Hashable) -> Blame:
        """Note that the network fails on *image* alone; return what is to blame.

        A device may work for a blank image and fail on real ones. So an image is only to blame once
        another one has run after its failure, or if too few fail to tell.
        """
        with self._lock:
            ran, tries = self._suspects.pop(image, (self._ran, 0))
            if ran < self._ran:
                return Blame.IMAGE
            self._suspects[image] = ran, tries + 1
            if tries + 1 < MAX_TRIES:
                return Blame.UNKNOWN
            in_a_row = sum(each == self._ran for each, _ in self._suspects.values())
            return Blame.DEVICE if in_a_row >= MAX_SUSPECTS else Blame.IMAGE

    def full_s(self) -> float:
        """Note that there is no memory for one image; return for how long there has been none."""
        now_s = self._clock()
        self._full_since_s = self._full_since_s or now_s
        return now_s - self._full_since_s

    def leave(self, error: WorkerUnfit) -> bool:
        """Note that the process leaves because of *error*; return whether an item may be the cause.

        An item is suspected if the device works in a new process, unless it fails on image after
        image. This is found out once; callers in other threads wait for it.
        """
        with self._lock:
            if not self._is_lost:
                self._is_lost = True
                if isinstance(error, DeviceFull | DeviceFaulty) or not self.works():
                    self.fault = f"device: {error}"
            return self.fault is None

    def _forget_ended(self) -> None:
        """Keep only the images that are still tried."""
        with self._lock:
            self._suspects = {
                image: found for image, found in self._suspects.items() if found[1] < MAX_TRIES
            }
