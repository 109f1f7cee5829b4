"""Values from elsewhere that nobody waits for long."""

import threading

from support.until import until

from shared.errors import RedisUnavailable
from worker.monitoring.cached_value import Fresh

LONG_S = 60.0


def test_a_young_value_is_not_read_again():
    reads = []
    fresh = Fresh(lambda: reads.append(1) or len(reads), max_age_s=LONG_S, wait_s=LONG_S)

    assert [fresh.get() for _ in range(3)] == [1, 1, 1]


def test_an_old_value_is_read_again():
    reads = []
    fresh = Fresh(lambda: reads.append(1) or len(reads), max_age_s=0.02, wait_s=LONG_S)

    assert fresh.get() == 1
    until(lambda: (fresh.get() or 0) > 1)


def test_who_asks_does_not_wait_for_what_does_not_come_and_gets_it_when_it_has():
    let_go = threading.Event()
    reads = []

    def read():
        reads.append(1)
        assert let_go.wait(30)
        return "value"

    fresh = Fresh(read, max_age_s=LONG_S, wait_s=0.01)

    assert [fresh.get() for _ in range(5)] == [None] * 5
    assert reads == [1]
    let_go.set()
    assert until(fresh.get) == "value"


def test_a_service_that_is_away_is_asked_again_only_after_a_while():
    reads = []

    def read():
        reads.append(1)
        raise RedisUnavailable("away")

    fresh = Fresh(read, max_age_s=LONG_S, wait_s=LONG_S)

    assert [fresh.get() for _ in range(3)] == [None] * 3
    assert reads == [1]
