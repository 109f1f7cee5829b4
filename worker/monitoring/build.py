"""Build the monitoring of one worker process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celery import Celery

from shared.jobstore.store import JobStore
from worker.consumer import Consumer
from worker.engine import Engine
from worker.engine.limits import Limits
from worker.inference import ModelCache
from worker.lifecycle import Shutdown
from worker.monitoring.cached_value import CachedValue
from worker.monitoring.collector import FleetCollector
from worker.monitoring.device_collector import DeviceCollector
from worker.monitoring.event_log import EventLog
from worker.monitoring.gpu import GpuFigures, load_nvml
from worker.monitoring.health import Health
from worker.monitoring.http_server import HttpServer
from worker.monitoring.liveness import LoopStamp
from worker.monitoring.metrics import Metrics
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Monitoring:
    """What shows the state of this process."""

    loop: LoopStamp
    health: Health
    http_server: HttpServer | None

    def start(self) -> None:
        """Serve metrics and probes, if the settings name an address.

        Raises:
            InvalidOption: If the address cannot be bound.
        """
        if self.http_server is not None:
            self.http_server.start()


def build_observers(stages: Sequence[str]) -> tuple[Metrics, EventLog]:
    """Return what watches the engine; *stages* are the names of its stages."""
    return Metrics(stages), EventLog()


def build_monitoring(
    settings: WorkerSettings,
    limits: Limits,
    *,
    about: Mapping[str, str],
    celery: Celery,
    store: JobStore,
    engine: Engine,
    consumer: Consumer,
    metrics: Metrics,
    models: ModelCache,
    stages: Sequence[str],
    shutdown: Shutdown,
) -> Monitoring:
    """Return the monitoring of a worker; *about* are the labels that identify it."""
    loop = LoopStamp(celery)
    health = Health(engine=engine, loop=loop, shutdown=shutdown, stall_s=settings.stall_s)
    if settings.http is None:
        return Monitoring(loop, health, None)
    collector = FleetCollector(
        engine=engine,
        leases=consumer.leases,
        loop=loop,
        recovery=consumer.recovery,
        health=health,
        totals=CachedValue(store.fleet.totals).get,
        limits=limits,
        stages=stages,
    )
    nvml = load_nvml()
    device = DeviceCollector(about=about, models=models, gpu=GpuFigures(nvml) if nvml else None)
    metrics.registry.register(collector)
    metrics.registry.register(device)
    server = HttpServer(settings.http, registry=metrics.registry, health=health)
    return Monitoring(loop, health, server)
