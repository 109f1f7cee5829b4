"""What is counted as it happens, for Prometheus; what is read when it asks is in `gauges`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from shared.errors import ItemError
from worker.engine.item import Ended, Outcome
from worker.engine.observer import STAGES
from worker.storage.item_ref import Work

SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Bounds for stages, from a thumbnail on a GPU to a timeout of the store, and for whole items: on a
CPU one that came in last waits for the 47 before it."""
WAIT_SECONDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Bounds for a batch's wait: for company 0.05 at most by default, and then for the device."""
SIZES: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


class Metrics:
    """Counts what it observes, in a registry of its own. Safe to use from several threads.

    Counters start at 0 under every label that is known beforehand: a rate needs a first value.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        images = Counter(
            "rmbg_images",
            "Items that left the engine: done, failed by error class, or given back.",
            ("result", "error"),
            registry=self.registry,
        )
        self._done = images.labels("done", "")
        self._given_back = images.labels("given_back", "")
        self._failed = {
            error.__name__: images.labels("failed", error.__name__)
            for error in ItemError.__subclasses__()
        }
        self._images = images
        self._took = Histogram(
            "rmbg_image_seconds",
            "From the entrance of the engine to the end of an item that is done or failed.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = self._per_stage()
        self._make_device_metrics()

    def stage(self, name: str, took_s: float) -> None:
        """See `Observer.stage`."""
        self._stages[name].observe(took_s)

    def batch(self, works: Sequence[Work], *, wait_s: float, forward_s: float) -> None:
        """See `Observer.batch`."""
        self._sizes.observe(len(works))
        self._waits.observe(wait_s)
        self._stages["forward"].observe(forward_s)
        self._busy.inc(forward_s)

    def retried(self, work: Work, stage: str, err: BaseException) -> None:  # noqa: ARG002 - which item and why is for the log
        """See `Observer.retried`."""
        self._retries[stage].inc()

    def ended(self, work: Work, outcome: Outcome, *, took_s: float) -> None:  # noqa: ARG002 - which item is for the log
        """See `Observer.ended`."""
        if not isinstance(outcome, Ended):
            self._given_back.inc()
            return
        self._took.observe(took_s)
        error = outcome.record.error
        if error is None:
            self._done.inc()
        else:
            name = str(error["class"])
            (self._failed.get(name) or self._images.labels("failed", name)).inc()

    def _per_stage(self) -> dict[str, Histogram]:
        seconds = Histogram(
            "rmbg_stage_seconds",
            "How long a stage takes: forward a batch, the others an item.",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        retries = Counter(
            "rmbg_retries",
            "Times that an item went through a stage again because of a transient fault.",
            ("stage",),
            registry=self.registry,
        )
        self._retries = {name: retries.labels(name) for name in STAGES}
        return {name: seconds.labels(name) for name in STAGES}

    def _make_device_metrics(self) -> None:
        self._sizes = Histogram(
            "rmbg_batch_images",
            "Items of a batch.",
            buckets=SIZES,
            registry=self.registry,
        )
        self._waits = Histogram(
            "rmbg_batch_wait_seconds",
            "How long the first item of a batch waited for it to run.",
            buckets=WAIT_SECONDS,
            registry=self.registry,
        )
        self._busy = Counter(
            "rmbg_device_busy_seconds",
            "Seconds that batches spent in the network; its rate is the share busy.",
            registry=self.registry,
        )
