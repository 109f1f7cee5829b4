"""Calls that are made after a delay, by one thread for all of them."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from worker.engine.thread_pool import Call


class Later:
    """Runs calls when they are due. Calls must be short and must not raise."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: list[tuple[float, int, Call]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._serve, name="later", daemon=True).start()

    def after(self, delay_s: float, call: Call) -> None:
        """Run *call* in *delay_s* seconds; at once when the delays were cut short."""
        with self._changed:
            due = self._clock() + (0.0 if self._closed else delay_s)
            heapq.heappush(self._calls, (due, next(self._count), call))
            self._changed.notify()

    def cut_short(self) -> None:
        """Run everything now, and from now on wait for nothing: the process is leaving."""
        with self._changed:
            self._closed = True
            self._calls = [(0.0, count, call) for _, count, call in self._calls]
            heapq.heapify(self._calls)
            self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (wait_s := self._wait_s()) is None or wait_s > 0:
                    self._changed.wait(wait_s)
                _, _, call = heapq.heappop(self._calls)
            call()
            del call

    def _wait_s(self) -> float | None:
        return self._calls[0][0] - self._clock() if self._calls else None
