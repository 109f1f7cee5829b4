"""The items inside the engine: how many there are, and whether they move."""

import itertools
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from worker.engine.item import Item, ItemRequest, ItemResult
from worker.engine.payloads import Finished, Outcome


class InFlight:
    """Admits items up to a limit and counts those inside; safe to use from several threads."""

    def __init__(self, max_items: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._room = threading.Semaphore(max_items)
        self._order = itertools.count()
        self._lock = threading.Lock()
        self.items = 0
        """Items inside."""
        self.upstream = 0
        """Of these, the ones that may still come to the device."""
        self.waiting = 0
        """Of these, the ones that wait for a bucket that is down, or for memory of the device."""
        self.ended = 0
        """Items that are done or have failed since the start; deferred ones do not count."""
        self.moved_at_s = clock()
        """When an item last went from one stage to the next, or left."""

    def enter(
        self, request: ItemRequest, results: SimpleQueue[ItemResult], *, timeout_s: float
    ) -> Item | None:
        """Admit one item; None if there is no room within *timeout_s*. Urgent items need none."""
        if not request.urgent and not self._room.acquire(timeout=timeout_s):
            return None
        with self._lock:
            self.items += 1
            self.upstream += 1
        return Item(request, results, next(self._order), self._clock())

    def moved(self) -> None:
        """Note progress."""
        self.moved_at_s = self._clock()

    def pass_device(self, item: Item) -> None:
        """Count the item out of those that a batch could still wait for."""
        with self._lock:
            self.upstream -= item.is_upstream
            item.is_upstream = False

    def wait(self, item: Item) -> None:
        """Note that an item waits for a bucket that is down, or for memory of the device."""
        with self._lock:
            self.waiting += not item.is_waiting
            item.is_waiting = True

    def resume(self, item: Item) -> None:
        """Note that an item no longer waits."""
        with self._lock:
            self.waiting -= item.is_waiting
            item.is_waiting = False

    def leave(self, item: Item, outcome: Outcome) -> bool:
        """Count the item out; return False if it has left before."""
        with self._lock:
            if item.has_left:
                return False
            item.has_left = True
            self.items -= 1
            self.ended += isinstance(outcome, Finished)
        self.pass_device(item)
        self.resume(item)
        self.moved()
        if not item.request.urgent:
            self._room.release()
        return True
