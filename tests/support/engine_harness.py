"""The engine over a store in memory and a stand-in network: items in, outcomes out."""

from __future__ import annotations

import random
from queue import Empty, SimpleQueue

from shared.errors import StoreUnavailable
from support.jobs import spec
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.stand_ins import stand_in_model
from support.until import until
from worker.engine.circuit_breaker import CircuitBreakers, Direction
from worker.engine.engine import Engine, EngineLimits
from worker.engine.failure_policy import RetryLimits
from worker.engine.item import ItemRequest
from worker.engine.stages import build_stages
from worker.imaging.operations import ImageOperations
from worker.lifecycle.shutdown import Shutdown
from worker.storage.output_writer import OutputWriter

MAX_PIXELS = 1_000_000
MAX_BYTES = 2_000_000
WAIT_S = 60


def patient_breakers(**options):
    """Return breakers that probe often and keep items inside for as long as a test lasts."""
    patience_s = dict.fromkeys(Direction, 3600.0)
    return CircuitBreakers(**{"probe_s": 0.01, "patience_s": patience_s} | options)


class EngineHarness:
    """An engine and all around it. `outcomes` maps keys to outcomes, in the order they came."""

    def __init__(
        self,
        *,
        model=None,
        imaging=None,
        change_stages=tuple,
        observers=(),
        breakers=None,
        device=None,
        store=None,
        shared_bytes=0,
        clock=None,
        **limits,
    ):
        self.store = store or MemoryStore()
        self.writer = OutputWriter(self.store, max_bytes=MAX_BYTES)
        self.model = model or stand_in_model()
        self.imaging = imaging or ImageOperations(
            max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1
        )
        self.shutdown = Shutdown()
        self.outcomes = {}
        self._results = SimpleQueue()
        self._offered = 0
        self._collected = 0
        limits = {
            "io_threads": 2,
            "cpu_threads": 2,
            "retries": RetryLimits(max_backoff_s=0.01),
        } | limits
        self.engine = Engine(
            change_stages(
                build_stages(self.writer, self.imaging, version="9.9", shared_bytes=shared_bytes)
            ),
            limits=EngineLimits(**limits),
            shutdown=self.shutdown,
            observers=observers,
            breakers=breakers or patient_breakers(),
            device=device,
            rng=random.Random(1),
            **({"clock": clock, "condition": clock.condition} if clock else {}),
        )

    @property
    def segmenter(self):
        return self.model.segmenter

    def waiting_for_batch(self):
        """Return how many items wait for the device."""
        return len(self.engine.scheduler.batches._batcher)

    def image(self, key, **options):
        """Put a synthetic image at *key*; return the key."""
        options = {"seed": len(self.store.keys("inbox"))} | options
        return self.put(key, encoded(photo(**options), "JPEG"))

    def images(self, count):
        return [self.image(f"{n}.jpg") for n in range(count)]

    def put(self, key, data=b"x"):
        """Put *data* at *key* in the input bucket; return the key."""
        self.store.put("inbox", key, data, content_type="image/jpeg")
        return key

    def request(self, key, *, job=None, **changes):
        """Return an item of job `j`; *changes* are fields of `ItemRequest`, *job* is its spec."""
        fields = {
            "job_id": "j",
            "sequence": 7,
            "spec": job or spec(rem_mode=self.model.name),
            "index": self._offered,
            "image_key": key,
            "model": self.model,
        }
        return ItemRequest(**fields | changes)

    def offer(self, key, **changes):
        """Hand one item to the engine; return whether it was taken."""
        taken = self.engine.offer(self.request(key, **changes), self._results, timeout_s=0)
        self._offered += taken
        return taken

    def wait(self, count=None):
        """Wait until all items that were taken, or *count* of them, have ended."""
        while self._collected < (self._offered if count is None else count):
            try:
                result = self._results.get(timeout=WAIT_S)
            except Empty:
                raise AssertionError(f"no result; so far {list(self.outcomes)}") from None
            self.outcomes[result.request.image_key] = result.outcome
            self._collected += 1

    def run(self, *keys, **changes):
        """Run items, all at once; return their outcomes in the order of *keys*."""
        for key in keys:
            assert self.offer(key, **changes)
        self.wait()
        until(lambda: self.engine.inflight.items == 0)
        return [self.outcomes[key] for key in keys]

    def record(self, key, **changes):
        """Run one item; return its record."""
        return self.run(key, **changes)[0].record

    def fail_store(self, *calls, times, error=None):
        """Make the next *times* calls of these kinds fail."""
        left = [times]

        def before(made, bucket, key):
            if made in calls and left[0] > 0:
                left[0] -= 1
                raise error or StoreUnavailable(f"{made} of {bucket}/{key}: injected")

        self.store.before = before

    def drain(self):
        """Make the process leave, as far as the engine is concerned."""
        self.shutdown.drain("the test asked for it")
        self.engine.drain()

    def close(self):
        """End the engine's threads."""
        self.drain()
        self.engine.close()
        self.imaging.close()
