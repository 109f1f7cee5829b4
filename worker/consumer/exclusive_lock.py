"""Let tickets run side by side, and a suspect ticket only while nothing else runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveLock:
    """A shared and exclusive lock in which a waiting exclusive holder keeps new shared ones out.

    Urgent shared holders go before waiting exclusive ones. A suspect ticket may kill this process,
    and any other ticket in it would be blamed as well; when it runs alone, only it is blamed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shared = 0
        self._is_exclusive = False
        self._exclusive_waiting = 0
        self._urgent_waiting = 0

    @property
    def is_wanted(self) -> bool:
        """Whether an urgent holder waits for the exclusive one."""
        return self._urgent_waiting > 0

    @contextmanager
    def shared(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the lock beside others; wait while it is held exclusively.

        Unless *urgent*, also wait while somebody waits for it exclusively.
        """
        with self._changed:
            self._urgent_waiting += urgent
            self._changed.wait_for(
                lambda: not self._is_exclusive and (urgent or not self._exclusive_waiting)
            )
            self._urgent_waiting -= urgent
            self._shared += 1
        try:
            yield
        finally:
            with self._changed:
                self._shared -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; wait for the shared holders to leave and for urgent ones."""
        with self._changed:
            self._exclusive_waiting += 1
            self._changed.wait_for(
                lambda: not (self._is_exclusive or self._shared or self._urgent_waiting)
            )
            self._exclusive_waiting -= 1
            self._is_exclusive = True
        try:
            yield
        finally:
            with self._changed:
                self._is_exclusive = False
                self._changed.notify_all()
