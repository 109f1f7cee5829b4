"""How long a batch may be on the device, on a clock that the test sets."""

import threading

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve, stand_in_model
from support.until import until

from worker.engine.pass_watch import FACTOR, KEPT, LEAST_S, PassWatch


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s

    condition = threading.Condition


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return PassWatch(clock)


def run(watch, clock, *, images, took_s, ran=None, model="isnet"):
    watch.begin(model, images)
    clock.now_s += took_s
    watch.end(images if ran is None else ran)


def limit_s(watch, clock, *, images, model="isnet"):
    """Return after how many whole seconds a batch is overdue."""
    watch.begin(model, images)
    for seconds in range(10_000):
        if watch.overdue():
            clock.now_s -= seconds
            watch.end(0)
            return seconds
        clock.now_s += 1
    watch.end(0)
    return None


def test_a_quick_batch_may_take_half_a_minute(watch, clock):
    run(watch, clock, images=32, took_s=0.0625)

    assert limit_s(watch, clock, images=32) == LEAST_S + 1


def test_a_slow_batch_may_take_ten_times_as_long_as_usual_for_its_size(watch, clock):
    for took_s in (4.0, 12.0, 4.0):
        run(watch, clock, images=4, took_s=took_s)

    assert limit_s(watch, clock, images=8) == FACTOR * 8 + 1
    assert limit_s(watch, clock, images=4) == FACTOR * 4 + 1


def test_old_batches_do_not_count(watch, clock):
    run(watch, clock, images=1, took_s=500.0)
    for _ in range(KEPT):
        run(watch, clock, images=1, took_s=5.0)

    assert limit_s(watch, clock, images=1) == FACTOR * 5 + 1


def test_a_batch_of_which_nothing_ran_does_not_count(watch, clock):
    run(watch, clock, images=4, took_s=40.0)
    for _ in range(3):
        run(watch, clock, images=4, took_s=0.0, ran=0)

    assert limit_s(watch, clock, images=4) == FACTOR * 40 + 1


def test_a_model_that_has_run_no_batch_has_no_limit(watch, clock):
    run(watch, clock, images=4, took_s=0.1, model="another")

    assert limit_s(watch, clock, images=4) is None


def test_a_device_without_a_batch_is_not_overdue(watch, clock):
    run(watch, clock, images=4, took_s=0.1)
    clock.now_s += 1000

    assert watch.overdue() is None


@pytest.mark.parametrize("in_flight", [1, 2])
def test_the_engine_times_its_batches(clock, in_flight):
    """A batch on a CPU hangs in its launch, one on a GPU when it is collected."""
    model = stand_in_model(in_flight=in_flight)
    harness = EngineHarness(imaging=QuickImaging(), model=model, clock=clock)
    try:
        harness.run(harness.put("usual"))
        model.segmenter.before = valve = Valve()
        harness.offer(harness.put("hangs"))
        valve.wait_for_one()
        assert harness.engine.overdue_pass() is None

        clock.now_s += LEAST_S + 1
        assert harness.engine.overdue_pass() == (
            "1 images of isnet-general-use have been on the device for 31 s, the limit is 30 s"
        )
        valve.open()
        harness.wait()
        until(lambda: harness.engine.overdue_pass() is None)
    finally:
        harness.close()


def test_a_batch_counts_from_the_end_of_the_one_before_it(clock):
    model = stand_in_model(batch_size=1, in_flight=2)
    harness = EngineHarness(imaging=QuickImaging(), model=model, clock=clock)
    try:
        for n in range(5):
            harness.run(harness.put(f"usual {n}"))
        valves = [Valve() for _ in range(3)]
        queue = iter(valves)
        model.segmenter.before = lambda _batch: next(queue)()
        harness.offer(harness.put("first"))
        valves[0].wait_for_one()
        for key in ("second", "third"):
            harness.offer(harness.put(key))
        until(lambda: harness.waiting_for_batch() == 2)
        valves[0].open()
        valves[1].wait_for_one()
        assert harness.waiting_for_batch() == 0, "the third one has been launched"
        clock.now_s += LEAST_S
        valves[1].open()
        valves[2].wait_for_one()
        clock.now_s += LEAST_S

        assert harness.engine.overdue_pass() is None
        clock.now_s += 1
        assert harness.engine.overdue_pass()
        valves[2].open()
        harness.wait()
    finally:
        harness.close()
