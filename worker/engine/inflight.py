"""The items inside the engine: how many there are, how far they are, and whether they move."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from worker.engine.item import Ended, Flow, Outcome
from worker.storage.item_ref import Work


class InFlight:
    """Lets items in up to a number and counts them out again; safe in several threads."""

    def __init__(self, max_items: int) -> None:
        self._room = threading.Semaphore(max_items)
        self._order = itertools.count()
        self._lock = threading.Lock()
        self.items = 0
        """Taken and not ended."""
        self.upstream = 0
        """Of these, those that have still to come to the device."""
        self.ended = 0
        """Done or failed since the start; not those given back."""
        self.moved_at_s = time.monotonic()
        """When any item last went from one stage to the next, or ended."""
        self.is_draining = False
        """Whether what has not been through the network is given back."""

    def enter(
        self, work: Work, done: Callable[[Work, Outcome], None], *, timeout_s: float
    ) -> Flow | None:
        """Let one item in, None if there is no room within *timeout_s*; urgent ones need none."""
        if not work.urgent and not self._room.acquire(timeout=timeout_s):
            return None
        with self._lock:
            self.items += 1
            self.upstream += 1
        return Flow(work, done, next(self._order), time.monotonic())

    def moved(self) -> None:
        """Note that something goes on."""
        self.moved_at_s = time.monotonic()

    def pass_device(self, flow: Flow) -> None:
        """Count an item out of those that the next batch could still wait for."""
        if flow.upstream:
            flow.upstream = False
            with self._lock:
                self.upstream -= 1

    def leave(self, flow: Flow, outcome: Outcome) -> None:
        """Count an item out; to be called once."""
        self.pass_device(flow)
        self.moved()
        with self._lock:
            self.items -= 1
            self.ended += isinstance(outcome, Ended)
        if not flow.work.urgent:
            self._room.release()
