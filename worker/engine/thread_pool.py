"""Threads over one priority queue."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

CLOSE_S: Final = 1.0
"""How long closing waits for what runs; whoever leaves is not held up for longer."""

Call: TypeAlias = Callable[[], None]
Rank: TypeAlias = tuple[int | bool, ...]


class Pool:
    """Daemon threads that run calls in order of rank, then of arrival.

    The queue has no bound of its own: whoever feeds it bounds the whole engine, so that no
    stage can wait for a later one that waits for it.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._calls: list[tuple[Rank, int, Call]] = []
        self._count = itertools.count()
        self._ready = threading.Condition()
        self._closed = False
        self._running: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, rank: Rank, call: Call) -> None:
        """Queue *call*, which must not raise; calls of lower *rank* go first."""
        with self._ready:
            heapq.heappush(self._calls, (rank, next(self._count), call))
            self._ready.notify()

    def longest_s(self) -> float:
        """Return how long the oldest call has been running, in seconds; 0 if none is."""
        started = list(self._running.values())
        return time.monotonic() - min(started) if started else 0.0

    def close(self) -> None:
        """End the threads once the queue is empty; a second time does nothing.

        Waits for them a little: a thread that is still in C++ when the interpreter ends takes
        the process with it (``terminate called without an active exception``).
        """
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        deadline_s = time.monotonic() + CLOSE_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def _serve(self) -> None:
        while True:
            with self._ready:
                while not self._calls and not self._closed:
                    self._ready.wait()
                if not self._calls:
                    return
                _, _, call = heapq.heappop(self._calls)
            me = threading.get_ident()
            self._running[me] = time.monotonic()
            call()
            del self._running[me]
            del call  # a finished item's pixels must not live until the next call
