"""Pause requests to a bucket that does not answer, so that an outage costs no item an attempt."""

import random
import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after some failures in a row; while open, one request in a few seconds may probe.

    Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        max_failures: int = 5,
        probe_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._max_failures = max_failures
        self._probe_s = probe_s
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, protects nothing
        self._failures = 0
        self._next_probe_s = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the service counts as down."""
        return self._failures >= self._max_failures

    @property
    def is_open_after_failure(self) -> bool:
        """Whether the service counts as down if one more request fails."""
        return self._failures + 1 >= self._max_failures

    def allows(self) -> bool:
        """Return whether a request may be made now; while open, grant one probe at a time."""
        with self._lock:
            if not self.is_open:
                return True
            if self._clock() < self._next_probe_s:
                return False
            self._schedule_probe()
            return True

    def wait_s(self) -> float:
        """Return how long to wait before asking again, spread so that not all ask at once."""
        return self._probe_s * self._rng.uniform(0.5, 1.5)

    def failed(self) -> None:
        """Note that the service could not be asked."""
        with self._lock:
            self._failures += 1
            if self._failures == self._max_failures:
                self._schedule_probe()

    def answered(self) -> None:
        """Note that the service answered, whatever the answer was."""
        with self._lock:
            self._failures = 0

    def _schedule_probe(self) -> None:
        self._next_probe_s = self._clock() + self.wait_s()
