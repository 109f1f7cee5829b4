"""The engine over a store in memory and a stand-in network: items in, outcomes out."""

from __future__ import annotations

import threading

from shared.errors import StoreUnavailable
from support.jobs import spec
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.stand_ins import stand_in_model
from support.until import until
from worker.engine.circuit_breaker import Breaker
from worker.engine.engine import Engine, EngineLimits
from worker.imaging.operations import real_stations
from worker.storage.item_ref import Work
from worker.storage.output_writer import Effects

MAX_PIXELS = 1_000_000
MAX_BYTES = 2_000_000


class Line:
    """An engine and all around it. `outcomes` maps keys to outcomes, in the order they came."""

    def __init__(
        self, *, model=None, stations=None, observer=None, breaker=None, store=None, **limits
    ):
        self.store = store or MemoryStore()
        self.effects = Effects(self.store, max_bytes=MAX_BYTES)
        self.model = model or stand_in_model()
        self.outcomes = {}
        self.unfit = []
        self.engine = Engine(
            self.effects,
            stations or real_stations(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1),
            limits=EngineLimits(
                **{"io_threads": 2, "cpu_threads": 2, "max_backoff_s": 0.01} | limits
            ),
            version="9.9",
            unfit=self.unfit.append,
            observer=observer,
            breaker=breaker or Breaker(probe_s=0.01),
        )
        self._lock = threading.Lock()
        self._offered = 0
        self._ended = 0

    @property
    def segmenter(self):
        return self.model.segmenter

    def picture(self, key, **options):
        """Put a made picture at *key*; return the key."""
        options = {"seed": len(self.store.keys("inbox"))} | options
        self.store.put("inbox", key, encoded(photo(**options), "JPEG"), content_type="image/jpeg")
        return key

    def pictures(self, count):
        return [self.picture(f"{n}.jpg") for n in range(count)]

    def work(self, key, *, job=None, **changes):
        """Return an item of job `j`; *changes* are `Work`'s, and *job* is its document."""
        return Work(
            **{
                "job_id": "j",
                "sequence": 7,
                "spec": job or spec(rem_mode=self.model.name),
                "index": self._offered,
                "image_key": key,
                "model": self.model,
            }
            | changes
        )

    def offer(self, key, **changes):
        """Hand one item to the engine; return whether it was taken."""
        taken = self.engine.offer(self.work(key, **changes), self._done, timeout_s=0)
        with self._lock:
            self._offered += taken
        return taken

    def wait(self, count=None):
        """Wait until all that was taken, or *count* items, have ended."""
        until(lambda: self._ended >= (self._offered if count is None else count))

    def run(self, *keys, **changes):
        """Have items done, all at once; return their outcomes in the order of *keys*."""
        for key in keys:
            assert self.offer(key, **changes)
        self.wait()
        until(lambda: self.engine.inside == 0)
        return [self.outcomes[key] for key in keys]

    def record(self, key, **changes):
        """Have one item done; return its record."""
        return self.run(key, **changes)[0].record

    def fail_store(self, *calls, times, error=None):
        """Make the next *times* calls of these kinds fail."""
        left = [times]

        def before(made, bucket, key):
            if made in calls and left[0] > 0:
                left[0] -= 1
                raise error or StoreUnavailable(f"{made} of {bucket}/{key}: made up")

        self.store.before = before

    def close(self):
        """End the engine's threads."""
        self.engine.drain()
        self.engine.close()

    def _done(self, work, outcome):
        self.outcomes[work.image_key] = outcome
        with self._lock:
            self._ended += 1
