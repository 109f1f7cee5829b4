"""Count what happens in the engine, for Prometheus; `collector` reports the current state."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from shared.errors import ItemError
from shared.job.record import ItemRecord
from worker.engine import Finished, ItemRequest, Observer, Outcome

SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Bounds for stages, from a thumbnail on a GPU to a timeout of the store, and for whole items: on a
CPU the last of 48 items waits for the 47 before it."""
WAIT_SECONDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Bounds for a batch's wait: 0.05 s at most by default for more items, and then for the device."""
ORIGINS: Final = ("network", "alpha", "reused", "shared")
SIZES: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


class Metrics(Observer):
    """Counts in a registry of its own. Safe to use from several threads.

    Counters start at 0 under every label that is known beforehand: a rate needs a first value.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        """Count under the names of the *stages*."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._images = Counter(
            "rmbg_images",
            "Items that left the engine: done, failed (by error class), or deferred (given_back).",
            labelnames=("result", "error"),
            registry=self.registry,
        )
        self._masks = Counter(
            "rmbg_masks",
            "Masks of done images: made by the network, from the image's own alpha, reused from the"
            " bucket, or shared with an image of equal bytes.",
            labelnames=("origin",),
            registry=self.registry,
        )
        self._took = Histogram(
            "rmbg_image_seconds",
            "Time an item spends in the engine until it is done or failed.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "rmbg_stage_seconds",
            "Time a stage takes: forward for a batch, the others for an item.",
            labelnames=("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stage_waits = Histogram(
            "rmbg_stage_wait_seconds",
            "Time an item waits until a stage starts: for memory, a thread or a batch.",
            labelnames=("stage",),
            buckets=WAIT_SECONDS,
            registry=self.registry,
        )
        self._retries = Counter(
            "rmbg_retries",
            "Retries of a stage after a transient error.",
            labelnames=("stage",),
            registry=self.registry,
        )
        self._sizes = Histogram(
            "rmbg_batch_images", "Items in a batch.", buckets=SIZES, registry=self.registry
        )
        self._waits = Histogram(
            "rmbg_batch_wait_seconds",
            "Time the first item of a batch waited until the batch ran.",
            buckets=WAIT_SECONDS,
            registry=self.registry,
        )
        self._busy = Counter(
            "rmbg_device_busy_seconds",
            "Seconds that the device ran batches; its rate is the busy share of the device.",
            registry=self.registry,
        )
        self._device = Histogram(
            "rmbg_device_batch_seconds",
            "Time the device takes for a batch, between two events of its own clock.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._images.labels("done", "")
        self._images.labels("given_back", "")
        for error in ItemError.__subclasses__():
            self._images.labels("failed", error.__name__)
        for origin in ORIGINS:
            self._masks.labels(origin)
        for stage in stages:
            self._stages.labels(stage)
            self._stage_waits.labels(stage)
            self._retries.labels(stage)

    def started(self, name: str, waited_s: float) -> None:
        """See `Observer.started`."""
        self._stage_waits.labels(name).observe(waited_s)

    def stage(self, name: str, took_s: float) -> None:
        """See `Observer.stage`."""
        self._stages.labels(name).observe(took_s)

    def batch(
        self,
        name: str,
        requests: Sequence[ItemRequest],
        *,
        wait_s: float,
        took_s: float,
        device_s: float,
    ) -> None:
        """See `Observer.batch`."""
        self._sizes.observe(len(requests))
        self._waits.observe(wait_s)
        self._stages.labels(name).observe(took_s)
        self._busy.inc(device_s)
        self._device.observe(device_s)

    def retried(self, request: ItemRequest, stage: str, err: BaseException) -> None:  # noqa: ARG002 - which item and why is for the log
        """See `Observer.retried`."""
        self._retries.labels(stage).inc()

    def ended(self, request: ItemRequest, outcome: Outcome, *, took_s: float) -> None:  # noqa: ARG002 - which item is for the log
        """See `Observer.ended`."""
        if not isinstance(outcome, Finished):
            self._images.labels("given_back", "").inc()
            return
        self._took.observe(took_s)
        record = outcome.record
        self._images.labels(record.state, record.error["class"] if record.error else "").inc()
        if record.state == "done":
            self._masks.labels(_origin_of(record)).inc()


def _origin_of(record: ItemRecord) -> str:
    return record.mask or (record.qc or {}).get("mask_from") or "network"
