"""Lets tickets run side by side, and a suspect one only while nothing else runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """A lock for many or for one, in which the one that waits keeps newcomers out.

    A suspect ticket may end this process, and whatever else the process held would look as if
    it had done so; alone, the blame is exact.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._waiting = 0
        self._urgent = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody urgent waits for the one who is alone, or waits to be."""
        return self._urgent > 0

    @contextmanager
    def together(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the gate beside others; waits while one is alone or waits to be."""
        with self._changed:
            self._urgent += urgent
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._urgent -= urgent
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the gate with nobody beside; waits for those who are in."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._together)
            self._waiting -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
