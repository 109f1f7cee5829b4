"""Values that are refreshed in the background."""

import threading

from support.until import until

from shared.errors import RedisUnavailable
from worker.monitoring.cached_value import CachedValue

LONG_S = 60.0


def test_a_recent_value_is_not_read_again():
    reads = []
    value = CachedValue(lambda: reads.append(1) or len(reads), max_age_s=LONG_S, wait_s=LONG_S)

    assert [value.get() for _ in range(3)] == [1, 1, 1]


def test_an_old_value_is_read_again():
    reads = []
    value = CachedValue(lambda: reads.append(1) or len(reads), max_age_s=0.02, wait_s=LONG_S)

    assert value.get() == 1
    until(lambda: (value.get() or 0) > 1)


def test_readers_do_not_block_on_a_slow_read_and_get_its_result_later():
    let_go = threading.Event()
    reads = []

    def read():
        reads.append(1)
        assert let_go.wait(30)
        return "result"

    value = CachedValue(read, max_age_s=LONG_S, wait_s=0.01)

    assert [value.get() for _ in range(5)] == [None] * 5
    assert reads == [1]
    let_go.set()
    assert until(value.get) == "result"


def test_a_service_that_does_not_answer_is_not_asked_again_at_once():
    reads = []

    def read():
        reads.append(1)
        raise RedisUnavailable("simulated")

    value = CachedValue(read, max_age_s=LONG_S, wait_s=LONG_S)

    assert [value.get() for _ in range(3)] == [None] * 3
    assert reads == [1]
