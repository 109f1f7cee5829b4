"""Report the state of this worker and of the fleet when Prometheus asks."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.broker.queues import QUEUES
from shared.jobstore.values import Totals
from worker.consumer import Leases, Recovery
from worker.engine import Engine
from worker.monitoring.health import Health
from worker.monitoring.liveness import LoopStamp


@dataclass(frozen=True, kw_only=True, eq=False)  # a registry keeps it by identity
class FleetCollector(Collector):
    """Reads the parts of a worker; none of them knows it."""

    engine: Engine
    leases: Leases
    loop: LoopStamp
    recovery: Recovery
    health: Health
    totals: Callable[[], Totals | None]
    """Totals of the fleet's jobs; None while Redis does not answer."""
    budget_px: int
    memory_limit_bytes: int
    about: Mapping[str, str]
    """Labels that identify this worker."""

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        yield from self._process()
        yield from self._engine()
        yield from self._tickets()
        yield from self._fleet()

    def _process(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "rmbg_worker_info", "Identity of this worker.", labels=[*self.about]
        )
        info.add_metric([*self.about.values()], 1)
        yield info
        yield _gauge("ready", "1 if the worker takes tickets.", self.health.ready() is None)
        yield _gauge(
            "alive",
            "1 if loop and engine make progress.",
            self.health.alive() is None,
        )
        yield _gauge(
            "loop_lag_seconds",
            "Seconds since Celery's event loop last ran; it runs every second.",
            self.loop.lag_s(),
        )
        yield _gauge(
            "memory_limit_bytes",
            "Resident memory at which the worker leaves, to be restarted.",
            self.memory_limit_bytes,
        )

    def _engine(self) -> Iterator[Metric]:
        engine = self.engine
        inside = engine.inside
        stalled_s = time.monotonic() - engine.progressed_at_s if inside else 0.0
        yield _gauge("images_inside", "Items in the engine.", inside)
        yield _gauge("stalled_seconds", "Seconds since any item in the engine moved.", stalled_s)
        yield _gauge(
            "decoded_pixels", "Decoded pixels held, at most 8 bytes each.", engine.permits.held
        )
        yield _gauge("decoded_pixels_limit", "Limit of decoded pixels held.", self.budget_px)
        yield _gauge(
            "breaker_open", "1 while the object store counts as down.", engine.breaker.is_open
        )

    def _tickets(self) -> Iterator[Metric]:
        yield _gauge("leases_held", "Tickets this worker holds.", len(self.leases))
        yield CounterMetricFamily("rmbg_leases_lost", "Leases lost while held.", self.leases.lost)
        issued = CounterMetricFamily(
            "rmbg_tickets_issued",
            "Tickets that this worker issued, by queue. bulk and interactive: issued for the first"
            " time; recovery: lost, released, or the worker died; suspect: the worker died twice.",
            labels=["queue"],
        )
        for queue in QUEUES:
            issued.add_metric([queue], self.recovery.issued[queue])
        yield issued

    def _fleet(self) -> Iterator[Metric]:
        """Yield nothing rather than old values while Redis does not answer."""
        totals = self.totals()
        yield _gauge("job_store_up", "1 if Redis answers.", totals is not None)
        if totals is None:
            return
        yield _gauge("open_jobs", "Jobs that have not ended, fleet-wide.", totals.open_jobs)
        yield _gauge("open_images", "Items that have not ended, fleet-wide.", totals.open_images)
        yield _gauge(
            "oldest_job_seconds",
            "Seconds since the oldest open job began.",
            totals.oldest_s,
        )
        if totals.backlog_s is not None:
            yield _gauge(
                "backlog_seconds",
                "Open items divided by the fleet's measured rate; absent while that is unknown.",
                totals.backlog_s,
            )
        yield _gauge("fleet_workers", "Registered workers.", totals.workers)
        yield _gauge("fleet_slots", "Tickets that they process at once.", totals.slots)
        yield _gauge(
            "fleet_images_per_second",
            "Sum of their measured rates.",
            totals.images_per_s,
        )
        tickets = GaugeMetricFamily(
            "rmbg_tickets", "Open tickets, fleet-wide, by place.", labels=["place"]
        )
        for place, count in sorted(totals.tickets.items()):
            tickets.add_metric([place], count)
        yield tickets


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rmbg_{name}", said, float(value))
