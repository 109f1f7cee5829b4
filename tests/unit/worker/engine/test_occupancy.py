"""How many requests and images are in flight at once with the default limits, by counting."""

import threading

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve, stand_in_model
from support.until import until

from worker.engine.limits import limits_for

GIB = 2**30


@pytest.fixture
def harnesses():
    """Make harnesses, and end them with the test."""
    made = []

    def make(**options):
        made.append(EngineHarness(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Counter:
    """Holds callers until the test lets them go, and counts those inside."""

    def __init__(self):
        self.valve = Valve()
        self.inside = 0
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.inside += 1
        self.valve()


def engine_with(harnesses, kind, **options):
    limits = limits_for(kind, cores=2, memory_bytes=16 * GIB)
    return harnesses(
        imaging=QuickImaging(),
        max_items=limits.max_items,
        budget_px=limits.budget_px,
        budget_bytes=limits.budget_bytes,
        io_threads=limits.io_threads,
        **options,
    )


@pytest.mark.parametrize(("kind", "items", "io_threads"), [("cpu", 48, 16), ("cuda", 400, 128)])
@pytest.mark.parametrize("call", ["get", "put"])
def test_as_many_requests_are_in_flight_as_the_device_needs(
    harnesses, kind, items, io_threads, call
):
    """The rate is at most this number divided by the time that the store takes to answer."""
    harness, counter = engine_with(harnesses, kind), Counter()
    for n in range(items):
        harness.put(f"{n}.jpg", b"%d" % n)
    harness.store.before = lambda made, *_: counter() if made == call else None

    assert all(harness.offer(f"{n}.jpg") for n in range(items))
    assert not harness.offer("another.jpg")
    until(lambda: counter.inside >= io_threads)
    assert counter.inside == io_threads
    counter.valve.open()
    harness.wait()


def test_batches_are_full_while_the_device_is_the_slowest(harnesses):
    harness = engine_with(harnesses, "cuda", model=stand_in_model(batch_size=32))
    valve = Valve()
    harness.segmenter.before = valve
    for n in range(400):
        harness.put(f"{n}.jpg", b"%d" % n)
        assert harness.offer(f"{n}.jpg")
    valve.wait_for_one()
    first = harness.segmenter.batches[0]
    until(lambda: harness.waiting_for_batch() == 400 - first)
    valve.open()
    harness.wait()

    rest = harness.segmenter.batches[1:]
    assert set(rest[:-1]) <= {32}
    assert sum(rest) == 400 - first
