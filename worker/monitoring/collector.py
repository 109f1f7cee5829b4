"""What is read when Prometheus asks: the state of this worker, and of the whole fleet's jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.broker.queues import QUEUES
from shared.jobstore.values import Totals
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery
from worker.engine.engine import Engine
from worker.monitoring.health import Health
from worker.monitoring.liveness import LoopStamp


@dataclass(frozen=True, kw_only=True, eq=False)  # a registry keeps it by identity
class Gauges(Collector):
    """A collector over the parts of a worker; none of them knows of it."""

    engine: Engine
    leases: Leases
    loop: LoopStamp
    recovery: Recovery
    health: Health
    totals: Callable[[], Totals | None]
    """Of the fleet's jobs; None while Redis cannot be asked."""
    budget_px: int
    memory_limit_bytes: int
    about: Mapping[str, str]
    """Labels that say what this worker is."""

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        yield from self._process()
        yield from self._engine()
        yield from self._tickets()
        yield from self._fleet()

    def _process(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("rmbg_worker_info", "What this worker is.", labels=[*self.about])
        info.add_metric([*self.about.values()], 1)
        yield info
        yield _gauge("ready", "Whether it takes tickets.", self.health.ready() is None)
        yield _gauge("alive", "Whether loop and engine move.", self.health.alive() is None)
        yield _gauge(
            "loop_lag_seconds",
            "Since Celery's event loop last turned, which it does each second.",
            self.loop.lag_s(),
        )
        yield _gauge(
            "memory_limit_bytes",
            "Resident memory at which the worker leaves, to be started afresh.",
            self.memory_limit_bytes,
        )

    def _engine(self) -> Iterator[Metric]:
        engine = self.engine
        inside = engine.inside
        stalled_s = time.monotonic() - engine.progressed_at_s if inside else 0.0
        yield _gauge("images_inside", "Items in the engine.", inside)
        yield _gauge("stalled_seconds", "Since any stage ended any item inside.", stalled_s)
        yield _gauge(
            "decoded_pixels", "Decoded pixels held, 8 bytes at most.", engine.budget.held_px
        )
        yield _gauge("decoded_pixels_limit", "Decoded pixels held at most.", self.budget_px)
        yield _gauge(
            "breaker_open", "Whether the object store is held to be down.", engine.breaker.is_open
        )

    def _tickets(self) -> Iterator[Metric]:
        yield _gauge("leases_held", "Tickets that this worker holds.", len(self.leases))
        yield CounterMetricFamily(
            "rmbg_leases_lost", "Leases lost while they were held.", self.leases.lost
        )
        issued = CounterMetricFamily(
            "rmbg_tickets_issued",
            "Tickets that this worker's recovery sent: bulk and interactive are fed first,"
            " recovery were lost, given back or their worker died, suspect died twice.",
            labels=["queue"],
        )
        for queue in QUEUES:
            issued.add_metric([queue], self.recovery.issued[queue])
        yield issued

    def _fleet(self) -> Iterator[Metric]:
        """Say nothing rather than something old of what every worker is asked for all."""
        totals = self.totals()
        yield _gauge("job_store_up", "Whether Redis answers.", totals is not None)
        if totals is None:
            return
        yield _gauge("open_jobs", "Jobs not yet done, fleet-wide.", totals.open_jobs)
        yield _gauge("open_images", "Items not yet ended, fleet-wide.", totals.open_images)
        yield _gauge(
            "oldest_job_seconds", "Since the oldest open job was submitted.", totals.oldest_s
        )
        if totals.backlog_s is not None:
            yield _gauge(
                "backlog_seconds",
                "Open items over the fleet's measured rate; absent while that is unknown.",
                totals.backlog_s,
            )
        yield _gauge("fleet_workers", "Workers registered.", totals.workers)
        yield _gauge("fleet_slots", "Tickets that they work off at once.", totals.slots)
        yield _gauge(
            "fleet_images_per_second", "Their measured rates, summed up.", totals.images_per_s
        )
        tickets = GaugeMetricFamily(
            "rmbg_tickets", "Open tickets, fleet-wide, by where they are.", labels=["place"]
        )
        for place, count in sorted(totals.tickets.items()):
            tickets.add_metric([place], count)
        yield tickets


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rmbg_{name}", said, float(value))
