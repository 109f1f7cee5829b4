"""A clock on which time passes only while all threads wait, and then without waiting."""

from __future__ import annotations

import heapq
import itertools
import threading
from contextlib import contextmanager


class VirtualClock:
    """The clock of *threads* threads that wait in `sleep` or in a `condition` of this clock.

    Once all of them wait, time jumps to the end of the next wait, whose thread alone goes on. Time
    stands still until `run`, and from `stop` on.
    """

    def __init__(self, threads):
        self._now_s = 0.0
        self._busy = threads + 1
        self._ends = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def __call__(self):
        return self._now_s

    def run(self):
        """Let time pass."""
        with self._lock:
            self._busy -= 1
            self._pass()

    def stop(self):
        """Let time stand still again."""
        with self._lock:
            self._busy += 1

    def sleep(self, duration_s):
        """Let the calling thread wait."""
        waiter = self.enter(duration_s)
        self.wait(waiter)

    def condition(self):
        """Return a `threading.Condition` whose waits end by this clock."""
        return _Condition(self)

    def enter(self, timeout_s):
        """Note that the calling thread is about to `wait`, at most *timeout_s*."""
        waiter = threading.Event()
        with self._lock:
            self._busy -= 1
            if timeout_s is not None:
                entry = (self._now_s + max(0.0, timeout_s), next(self._order), waiter)
                heapq.heappush(self._ends, entry)
        return waiter

    def wait(self, waiter):
        with self._lock:
            self._pass()
        assert waiter.wait(20), "virtual time does not pass"

    def wake(self, waiter):
        with self._lock:
            self._wake(waiter)

    def _pass(self):
        while not self._busy and self._ends:
            end_s, _, waiter = heapq.heappop(self._ends)
            if not waiter.is_set():
                self._now_s = end_s
                self._wake(waiter)

    def _wake(self, waiter):
        if not waiter.is_set():
            self._busy += 1
            waiter.set()


class _Condition:
    def __init__(self, clock):
        self._clock = clock
        self._lock = threading.RLock()
        self._waiters = []

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *error):
        return self._lock.__exit__(*error)

    def wait(self, timeout=None):
        waiter = self._clock.enter(timeout)
        self._waiters.append(waiter)
        with self._released():
            self._clock.wait(waiter)
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def notify(self, n=1):
        for waiter in self._waiters[:n]:
            self._waiters.remove(waiter)
            self._clock.wake(waiter)

    def notify_all(self):
        self.notify(len(self._waiters))

    @contextmanager
    def _released(self):
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
