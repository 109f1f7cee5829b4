"""The breaker, by a clock that the test turns."""

from worker.engine.circuit_breaker import Breaker


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def opened():
    clock = Clock()
    breaker = Breaker(failures=3, probe_s=2.0, clock=clock)
    for _ in range(3):
        breaker.failed()
    return breaker, clock


def test_it_opens_after_failures_in_a_row_only():
    breaker = Breaker(failures=3)
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed):
        outcome()
    breaker.failed()
    assert not breaker.is_open
    assert breaker.allows()

    breaker.failed()

    assert breaker.is_open
    assert not breaker.allows()


def test_while_open_one_request_a_while_may_probe():
    breaker, clock = opened()
    clock.now_s = 0.99
    assert not breaker.allows()

    clock.now_s = 3.0  # half as long again as `probe_s`, at most

    assert breaker.allows()
    assert not breaker.allows()
    clock.now_s = 6.0
    assert breaker.allows()


def test_one_answer_closes_it():
    breaker, clock = opened()
    clock.now_s = 3.0
    assert breaker.allows()

    breaker.succeeded()

    assert not breaker.is_open
    assert all(breaker.allows() for _ in range(5))


def test_a_failed_probe_leaves_it_open():
    breaker, clock = opened()
    clock.now_s = 3.0
    assert breaker.allows()

    breaker.failed()

    assert breaker.is_open
    assert not breaker.allows()


def test_waits_are_spread_around_the_time_between_probes():
    breaker = Breaker(probe_s=2.0)

    waits = [breaker.wait_s() for _ in range(200)]

    assert 1.0 <= min(waits) < 1.5
    assert 2.5 < max(waits) <= 3.0
