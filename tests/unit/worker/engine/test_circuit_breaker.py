"""The circuit breaker, on a clock that the test sets."""

import random

from worker.engine.circuit_breaker import CircuitBreaker


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def open_breaker():
    clock = Clock()
    breaker = CircuitBreaker(max_failures=3, probe_s=2.0, clock=clock)
    for _ in range(3):
        breaker.failed()
    return breaker, clock


def test_only_failures_in_a_row_open_it():
    breaker = CircuitBreaker(max_failures=3)
    for report in (breaker.failed, breaker.failed, breaker.answered, breaker.failed):
        report()
    assert not breaker.is_open_after_failure
    breaker.failed()
    assert not breaker.is_open
    assert breaker.is_open_after_failure
    assert breaker.allows()

    breaker.failed()

    assert breaker.is_open
    assert not breaker.allows()


def test_while_it_is_open_one_probe_at_a_time_is_allowed():
    breaker, clock = open_breaker()
    clock.now_s = 0.99
    assert not breaker.allows()

    clock.now_s = 3.0  # 1.5 times `probe_s`, the longest wait

    assert breaker.allows()
    assert not breaker.allows()
    clock.now_s = 6.0
    assert breaker.allows()


def test_one_answer_closes_it():
    breaker, clock = open_breaker()
    clock.now_s = 3.0
    assert breaker.allows()

    breaker.answered()

    assert not breaker.is_open
    assert all(breaker.allows() for _ in range(5))


def test_a_failed_probe_leaves_it_open():
    breaker, clock = open_breaker()
    clock.now_s = 3.0
    assert breaker.allows()

    breaker.failed()

    assert breaker.is_open
    assert not breaker.allows()


def test_waits_are_spread_around_the_time_between_probes():
    breaker = CircuitBreaker(probe_s=2.0, rng=random.Random(1))

    waits = [breaker.wait_s() for _ in range(200)]

    assert 1.0 <= min(waits) < 1.5
    assert 2.5 < max(waits) <= 3.0
