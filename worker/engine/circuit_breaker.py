"""Pause requests to a bucket that does not answer, so that an outage costs no item an attempt."""

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final


class Direction(StrEnum):
    """What is asked of a bucket: rights and outages often affect only one of them."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Target:
    """What one circuit breaker covers."""

    bucket: str
    direction: Direction


class BreakerState(Enum):
    """Whether a bucket may be asked."""

    CLOSED = auto()
    OPEN = auto()
    """The bucket counts as down: items wait for the next probe."""
    OVERDUE = auto()
    """A probe has failed and the bucket has been down for too long to keep its items inside."""


PATIENCE_S: Final[Mapping[Direction, float]] = {Direction.READ: 0.0, Direction.WRITE: 5.0}
"""How long items wait inside for a bucket that is down. An item that waits for its source has cost
nothing yet, and it takes a place from items of other buckets; an item that waits for its upload has
been through the network (docs/adr/0040)."""

FIRST_PROBE: Final = 0.2
"""Share of the time between two probes after which the first one runs: its failure shows that not
only a few objects fail, and until then the items keep their places."""
FORGOTTEN_S: Final = 300.0
"""Age of the latest failure from which on a bucket no longer counts as down in reports: no job may
need it any more, and nobody asks it then."""


class CircuitBreaker:
    """Opens after some failures in a row; while open, one request from time to time may probe.

    Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        max_failures: int = 5,
        probe_s: float = 2.0,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._max_failures = max_failures
        self._probe_s = probe_s
        self._patience_s = patience_s
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, protects nothing
        self._failures = 0
        self._opened_at_s = 0.0
        self._next_probe_s = 0.0
        self._is_probing = False
        self._has_probe_failed = False
        self._lock = threading.Lock()
        self.reason: str | None = None
        """What the latest request failed with; None if it was answered."""
        self._failed_at_s = -math.inf

    @property
    def state(self) -> BreakerState:
        """Whether the bucket may be asked now."""
        return self._state_at(self._failures)

    @property
    def state_after_failure(self) -> BreakerState:
        """What `state` is if one more request fails."""
        return self._state_at(self._failures + 1)

    def age_s(self) -> float:
        """Return how long ago a request failed; infinite if none has."""
        return self._clock() - self._failed_at_s

    def take_probe(self) -> bool:
        """Return whether the caller is to probe; it must then call `failed` or `answered`.

        One probe runs at a time: probes of a bucket that never responds would otherwise hold all
        threads.
        """
        with self._lock:
            is_due = self._clock() >= self._next_probe_s
            if self._failures < self._max_failures or self._is_probing or not is_due:
                return False
            self._is_probing = True
            return True

    def wait_s(self) -> float:
        """Return how long to wait before asking again, spread so that not all ask at once."""
        spread_s = self._spread_s()
        if not self._has_probe_failed:
            return FIRST_PROBE * spread_s
        return min(spread_s, max(0.0, self._opened_at_s + self._patience_s - self._clock()))

    def failed(self, reason: str) -> None:
        """Note that the service could not be asked."""
        with self._lock:
            self.reason, self._failed_at_s = reason, self._clock()
            self._failures += 1
            self._has_probe_failed |= self._is_probing
            if self._failures == self._max_failures:
                self._opened_at_s = self._clock()
                self._next_probe_s = self._clock() + FIRST_PROBE * self._spread_s()
            elif self._is_probing:
                self._next_probe_s = self._clock() + self._spread_s()
            self._is_probing = False

    def answered(self) -> None:
        """Note that the service answered, whatever the answer was."""
        with self._lock:
            self._failures = 0
            self._is_probing = self._has_probe_failed = False
            self.reason = None

    def _state_at(self, failures: int) -> BreakerState:
        if failures < self._max_failures:
            return BreakerState.CLOSED
        is_late = self._clock() - self._opened_at_s >= self._patience_s
        return BreakerState.OVERDUE if self._has_probe_failed and is_late else BreakerState.OPEN

    def _spread_s(self) -> float:
        return self._probe_s * self._rng.uniform(0.5, 1.5)


class CircuitBreakers:
    """One breaker per bucket and direction. Safe to use from several threads."""

    def __init__(
        self,
        *,
        max_failures: int = 5,
        probe_s: float = 2.0,
        patience_s: Mapping[Direction, float] = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures = max_failures
        self._probe_s = probe_s
        self._patience_s = patience_s
        self._clock = clock
        self._breakers: dict[Target, CircuitBreaker] = {}
        self._lock = threading.Lock()

    @property
    def is_any_open(self) -> bool:
        """Whether a bucket counts as down."""
        with self._lock:
            breakers = list(self._breakers.values())
        return any(
            each.state is not BreakerState.CLOSED and each.age_s() < FORGOTTEN_S
            for each in breakers
        )

    def of(self, target: Target) -> CircuitBreaker:
        """Return the breaker of *target*."""
        with self._lock:
            if target not in self._breakers:
                self._breakers[target] = CircuitBreaker(
                    max_failures=self._max_failures,
                    probe_s=self._probe_s,
                    patience_s=self._patience_s[target.direction],
                    clock=self._clock,
                )
            return self._breakers[target]
