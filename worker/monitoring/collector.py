"""Report the state of this worker and of the fleet when Prometheus asks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.broker.queues import QUEUES
from shared.jobstore.values import Totals
from worker.consumer import Leases, Recovery
from worker.engine import Engine
from worker.engine.limits import Limits
from worker.monitoring.health import Health
from worker.monitoring.liveness import LoopStamp


@dataclass(frozen=True, kw_only=True, eq=False)  # a registry keeps it by identity
class FleetCollector(Collector):
    """Reads the state of a worker's parts, which do not know the collector."""

    engine: Engine
    leases: Leases
    loop: LoopStamp
    recovery: Recovery
    health: Health
    totals: Callable[[], Totals | None]
    """Totals of the fleet's jobs; None while Redis does not answer."""
    limits: Limits
    stages: Sequence[str]
    """Names of the stages."""

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        yield from (*self._process(), *self._engine(), *self._tickets(), *self._fleet())

    def _process(self) -> list[Metric]:
        ready, alive = self.health.ready() is None, self.health.alive() is None
        return [
            _gauge("ready", "1 if the worker takes tickets.", ready),
            _gauge("alive", "1 if the event loop and the engine make progress.", alive),
            _gauge(
                "loop_lag_seconds",
                "Seconds since Celery's event loop last ran; it runs every second.",
                self.loop.lag_s(),
            ),
            _gauge(
                "memory_limit_bytes",
                "Resident memory at which the worker leaves, to be restarted.",
                self.limits.max_rss_bytes,
            ),
        ]

    def _engine(self) -> list[Metric]:
        engine, inside = self.engine, self.engine.inflight.items
        stalled_s = time.monotonic() - engine.inflight.moved_at_s if inside else 0.0
        held, is_open = engine.holdings, engine.access.breakers.is_any_open
        return [
            _gauge("images_inside", "Items in the engine.", inside),
            _gauge("stalled_seconds", "Seconds since any item in the engine moved.", stalled_s),
            _gauge(
                "decoded_pixels", "Decoded pixels held, at most 8 bytes each.", held.pixels.held
            ),
            _gauge("decoded_pixels_limit", "Limit of decoded pixels held.", self.limits.budget_px),
            _gauge("encoded_bytes", "Bytes of sources and outputs held.", held.bytes.held),
            _gauge("encoded_bytes_limit", "Limit of them for downloads.", self.limits.budget_bytes),
            _gauge("breaker_open", "1 while a bucket counts as down.", is_open),
            _by_label(
                GaugeMetricFamily,
                "stage_queued",
                "Items that wait for a stage: for memory, a thread or a batch.",
                "stage",
                dict.fromkeys(self.stages, 0) | engine.waiting(),
            ),
        ]

    def _tickets(self) -> list[Metric]:
        return [
            _gauge("leases_held", "Tickets this worker holds.", len(self.leases)),
            CounterMetricFamily("rmbg_leases_lost", "Leases lost while held.", self.leases.lost),
            _by_label(
                CounterMetricFamily,
                "tickets_issued",
                "Tickets that this worker issued, by queue. bulk and interactive: issued for the"
                " first time; recovery: lost, released, or the worker died; suspect: the worker"
                " died twice.",
                "queue",
                {queue: self.recovery.issued[queue] for queue in QUEUES},
            ),
        ]

    def _fleet(self) -> list[Metric]:
        """Return no old values while Redis does not answer."""
        totals = self.totals()
        up = _gauge("job_store_up", "1 if Redis answers.", totals is not None)
        if totals is None:
            return [up]
        figures = {
            "open_jobs": (totals.open_jobs, "Jobs that have not ended, fleet-wide."),
            "open_images": (totals.open_images, "Items that have not ended, fleet-wide."),
            "oldest_job_seconds": (totals.oldest_s, "Age of the oldest open job."),
            "backlog_seconds": (
                totals.backlog_s,
                "Open items divided by the fleet's measured rate; absent while that is unknown.",
            ),
            "fleet_workers": (totals.workers, "Registered workers."),
            "fleet_slots": (totals.slots, "Tickets that they process at once."),
            "fleet_images_per_second": (totals.images_per_s, "Sum of their measured rates."),
        }
        gauges = [
            _gauge(name, text, value)
            for name, (value, text) in figures.items()
            if value is not None
        ]
        text = "Open tickets, fleet-wide, by place."
        tickets = _by_label(GaugeMetricFamily, "tickets", text, "place", totals.tickets)
        return [up, *gauges, tickets]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rmbg_{name}", text, float(value))


def _by_label(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    family = kind(f"rmbg_{name}", text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
