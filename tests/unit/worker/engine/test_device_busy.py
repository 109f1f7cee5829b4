"""How busy the engine keeps a fast device, on a clock on which waits take no time."""

import threading
from dataclasses import dataclass, field

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging
from support.virtual_clock import VirtualClock
from support.virtual_device import virtual_model

from worker.engine.limits import limits_for

GIB = 2**30
CPU_THREADS = 2
REQUESTS = {("get", "inbox"), ("put", "cutouts")}
"""Requests of the engine; the test puts the sources."""


@dataclass
class Endless:
    """Offers a new item whenever one has ended, until *total* have; then stops the clock.

    Takes the results in the engine's threads, so that no time passes in between.
    """

    harness: EngineHarness
    clock: VirtualClock
    total: int
    ended: list = field(default_factory=list)
    """For each item, when it ended, and how long the device had been busy until then."""

    def __post_init__(self):
        self._lock = threading.Lock()
        self._all_ended = threading.Event()
        self._offered = 0

    def put(self, result):
        assert result.outcome.record.state == "done", result.outcome
        with self._lock:
            self.ended.append((self.clock(), self.harness.segmenter.busy_s))
            is_last = len(self.ended) == self.total
        if is_last:
            self.clock.stop()
            self._all_ended.set()
        else:
            self._offer()

    def run(self, at_once):
        """Keep *at_once* items inside; return rate and busy share of the last three quarters."""
        for _ in range(at_once):
            self._offer()
        self.clock.run()
        assert self._all_ended.wait(120)
        first = self.total // 4
        (begin_s, begin_busy_s), (end_s, end_busy_s) = self.ended[first], self.ended[-1]
        took_s = end_s - begin_s
        return (self.total - 1 - first) / took_s, (end_busy_s - begin_busy_s) / took_s

    def _offer(self):
        with self._lock:
            if self._offered == self.total:
                return
            number, self._offered = self._offered, self._offered + 1
        key = self.harness.put(f"{number}.jpg", b"%d" % number)
        request = self.harness.request(key, index=number)
        assert self.harness.engine.offer(request, self, timeout_s=0)


@pytest.fixture
def measure():
    """Measure an engine with the limits of a type of device, behind a store of this latency."""
    harnesses = []

    def run(kind, *, store_s=0.0, total=2000, **device):
        limits = limits_for(kind, cores=CPU_THREADS, memory_bytes=16 * GIB)
        clock = VirtualClock(threads=4 * limits.io_threads + limits.cpu_threads + 1)
        harness = EngineHarness(
            imaging=QuickImaging(),
            model=virtual_model(clock, **device),
            clock=clock,
            max_items=limits.max_items,
            budget_px=limits.budget_px,
            budget_bytes=limits.budget_bytes,
            io_threads=limits.io_threads,
            cpu_threads=limits.cpu_threads,
            max_batch_wait_s=limits.batch_wait_s,
        )
        harnesses.append(harness)
        endless = Endless(harness, clock, total)
        harness.store.before = lambda call, bucket, key: (
            clock.sleep(store_s) if (call, bucket) in REQUESTS else None
        )
        return endless.run(limits.max_items)

    yield run
    for each in harnesses:
        each.close()


def test_a_device_behind_a_slow_store_makes_900_images_per_second(measure):
    """1 ms for an image, and 30 ms until the store answers: 90 ms for the requests of an image."""
    rate, _ = measure("cuda", store_s=0.030, image_s=0.001, batch_size=32, in_flight=2)

    assert rate >= 900


def test_the_limits_of_a_cpu_would_keep_such_a_device_waiting(measure):
    rate, _ = measure("cpu", store_s=0.030, image_s=0.001, batch_size=32, in_flight=2, total=800)

    assert rate <= 300


@pytest.mark.parametrize(("in_flight", "least", "most"), [(2, 0.95, 1.0), (1, 0.70, 0.75)])
def test_a_device_with_two_batches_is_busy_while_the_next_one_is_launched(
    measure, in_flight, least, most
):
    """A batch takes 16 ms, and its launch 6 ms of its thread."""
    _, busy = measure("cuda", batch_s=0.016, batch_size=16, launch_s=0.006, in_flight=in_flight)

    assert least <= busy <= most + 1e-9
