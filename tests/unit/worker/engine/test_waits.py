"""Where items wait, and for how long, on a clock that the test sets."""

import threading

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve, stand_in_model
from support.until import until

from worker.engine.failure_policy import RetryLimits
from worker.engine.observer import Observer
from worker.monitoring.metrics import Metrics

HOUR_S = 3600.0
STAGES = ("download", "decode", "forward", "render", "upload")


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s

    condition = threading.Condition


class Waits(Observer):
    """Keeps how long each item has waited for each stage, in the order of the starts."""

    def __init__(self):
        self.seconds = {}

    def started(self, name, waited_s):
        self.seconds.setdefault(name, []).append(waited_s)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def metrics():
    return Metrics(STAGES)


@pytest.fixture
def harnesses(clock, waits, metrics):
    made = []

    def make(**options):
        made.append(EngineHarness(clock=clock, observers=[waits, metrics], **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def hold_device(harness):
    harness.segmenter.before = valve = Valve()
    harness.offer(harness.put("holds"))
    valve.wait_for_one()
    return valve


def test_items_that_wait_for_a_batch_are_counted_and_timed(harnesses, clock, waits, metrics):
    harness = harnesses(imaging=QuickImaging(), model=stand_in_model(batch_size=2))
    valve = hold_device(harness)
    for key in "ab":
        harness.offer(harness.put(key, key.encode()))
    until(lambda: harness.engine.waiting() == {"forward": 2})
    clock.now_s += 5
    valve.open()
    harness.wait()

    assert waits.seconds["forward"] == [0, 5, 5]
    assert harness.engine.waiting() == {}
    value = metrics.registry.get_sample_value
    assert value("rmbg_stage_wait_seconds_sum", {"stage": "forward"}) == 10
    assert value("rmbg_stage_wait_seconds_count", {"stage": "upload"}) == 3
    assert value("rmbg_device_batch_seconds_count") == 2


def test_items_that_wait_for_memory_are_counted_and_timed(harnesses, clock, waits):
    """An image has 64 pixels: two do not fit at once."""
    harness = harnesses(imaging=QuickImaging(), budget_px=100)
    valve = hold_device(harness)
    harness.offer(harness.put("waits", b"w"))
    until(harness.engine.holdings.waiting)
    assert harness.engine.waiting() == {"decode": 1}
    clock.now_s += 7
    valve.open()
    harness.wait()

    assert waits.seconds["decode"] == [0, 7]


def test_items_that_wait_for_bytes_are_counted_and_timed(harnesses, clock, waits):
    harness = harnesses(imaging=QuickImaging(), budget_bytes=100)
    decoding = Valve()
    decode = harness.imaging.decode

    def decode_later(*args, **options):
        decoding()
        return decode(*args, **options)

    harness.imaging.decode = decode_later
    harness.offer(harness.put("holds", bytes(80)))
    decoding.wait_for_one()
    harness.offer(harness.put("waits", bytes(81)))
    until(harness.engine.holdings.waiting)
    assert harness.engine.waiting() == {"download": 1}
    clock.now_s += 3
    decoding.open()
    harness.wait()

    assert waits.seconds["download"] == [0, 0, 3], "it asks again once it may hold the bytes"


def test_the_delay_of_a_retry_is_no_wait(harnesses, clock, waits):
    harness = harnesses(
        imaging=QuickImaging(), retries=RetryLimits(max_backoff_s=HOUR_S, max_attempts=3)
    )
    key = harness.put("a")
    harness.fail_store("put", times=1)
    harness.offer(key)
    until(lambda: waits.seconds.get("upload"))
    clock.now_s += 2 * HOUR_S
    harness.engine.scheduler.hurry()
    harness.wait()

    assert waits.seconds["upload"] == [0, 0]
