"""The circuit breaker, on a clock that the test sets."""

import random

from worker.engine.circuit_breaker import (
    FORGOTTEN_S,
    BreakerState,
    CircuitBreaker,
    CircuitBreakers,
    Direction,
    Target,
)


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def open_breaker():
    clock = Clock()
    breaker = CircuitBreaker(max_failures=3, probe_s=2.0, patience_s=5.0, clock=clock)
    for _ in range(3):
        breaker.failed("503")
    return breaker, clock


def test_only_failures_in_a_row_open_it():
    breaker = CircuitBreaker(max_failures=3)
    breaker.failed("503")
    breaker.failed("503")
    breaker.answered()
    breaker.failed("503")
    assert breaker.state_after_failure is BreakerState.CLOSED
    breaker.failed("503")
    assert breaker.state is BreakerState.CLOSED
    assert breaker.state_after_failure is BreakerState.OPEN

    breaker.failed("503")

    assert breaker.state is BreakerState.OPEN


def test_a_closed_breaker_needs_no_probe():
    assert not CircuitBreaker().take_probe()


def test_one_probe_runs_at_a_time_however_long_it_takes():
    """A bucket that never responds would otherwise hold every thread."""
    breaker, clock = open_breaker()
    clock.now_s = 0.19
    assert not breaker.take_probe()

    clock.now_s = 0.6  # a fifth of 1.5 times `probe_s`, the longest wait
    assert breaker.take_probe()
    clock.now_s = 1000.0
    assert not breaker.take_probe()

    breaker.failed("503")
    assert not breaker.take_probe()
    clock.now_s = 1003.0
    assert breaker.take_probe()


def test_one_answer_closes_it():
    breaker, clock = open_breaker()
    clock.now_s = 3.0
    assert breaker.take_probe()

    breaker.answered()

    assert breaker.state is BreakerState.CLOSED
    assert breaker.reason is None


def test_it_is_overdue_once_a_probe_has_failed_and_patience_is_over():
    breaker, clock = open_breaker()
    clock.now_s = 10.0
    assert breaker.state is BreakerState.OPEN  # the bucket may have come back

    assert breaker.take_probe()
    breaker.failed("still 503")

    assert breaker.state is BreakerState.OVERDUE
    assert breaker.reason == "still 503"


def test_a_failed_probe_within_the_patience_keeps_items_inside():
    breaker, clock = open_breaker()
    clock.now_s = 3.0
    assert breaker.take_probe()
    breaker.failed("503")
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s() <= 2.0  # until the patience is over

    clock.now_s = 5.0

    assert breaker.state is BreakerState.OVERDUE


def test_a_failure_of_another_request_is_no_failed_probe():
    breaker, clock = open_breaker()
    clock.now_s = 10.0

    breaker.failed("503")

    assert breaker.state is BreakerState.OPEN


def test_waits_for_the_first_probe_are_spread_around_a_fifth_of_the_time_between_probes():
    breaker = CircuitBreaker(probe_s=2.0, rng=random.Random(1))

    first = [breaker.wait_s() for _ in range(200)]

    assert 0.2 <= min(first) < 0.3
    assert 0.5 < max(first) <= 0.6


def test_a_bucket_that_nobody_asks_any_more_is_not_reported_as_down():
    """Its job may have been cancelled."""
    clock = Clock()
    breakers = CircuitBreakers(max_failures=1, clock=clock)
    breakers.of(Target("inbox", Direction.READ)).failed("503")
    clock.now_s = FORGOTTEN_S - 1
    assert breakers.is_any_open

    clock.now_s = FORGOTTEN_S

    assert not breakers.is_any_open


def test_each_bucket_and_direction_has_a_breaker_of_its_own():
    breakers = CircuitBreakers(max_failures=1)
    down = Target("inbox", Direction.WRITE)
    breakers.of(down).failed("503")

    assert breakers.is_any_open
    assert breakers.of(down).state is BreakerState.OPEN
    for other in (Target("inbox", Direction.READ), Target("other", Direction.WRITE)):
        assert breakers.of(other).state is BreakerState.CLOSED
