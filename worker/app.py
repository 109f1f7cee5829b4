"""Builds a worker: everything once, from settings."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from importlib.metadata import version

import cv2

from shared.broker.app import make_app, publish
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from shared.jobstore.values import WorkerInfo
from shared.models import registry as models
from shared.objects import ObjectStore, S3Store
from worker.consumer import task as tasks
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery
from worker.consumer.throughput import RateMeter
from worker.consumer.ticket_consumer import Tickets
from worker.engine.engine import Engine, EngineLimits
from worker.engine.observer import Observers
from worker.imaging.operations import Stations, real_stations
from worker.inference.api import Model
from worker.inference.loader import Loader
from worker.inference.model_cache import Rack
from worker.monitoring.cached_value import Fresh
from worker.monitoring.collector import Gauges
from worker.monitoring.event_log import Journal
from worker.monitoring.health import Health
from worker.monitoring.http_server import Monitor
from worker.monitoring.liveness import LoopStamp, memory_limit_bytes
from worker.monitoring.metrics import Metrics
from worker.runtime.process import Worker
from worker.runtime.watchdogs import UNFIT_EXIT
from worker.settings import WorkerSettings
from worker.storage.bucket_guard import ConfinedStore
from worker.storage.output_writer import Effects

logger = logging.getLogger(__name__)


def build_app(
    settings: WorkerSettings,
    *,
    load: Callable[[str], Model] | None = None,
    objects: ObjectStore | None = None,
    stations: Stations | None = None,
) -> Worker:
    """Return a worker; benchmarks and fault tests pass a model, a store or stations of their own.

    Nothing is connected and no weights are read yet.
    """
    cv2.setNumThreads(1)  # the pool is the parallelism
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    services = settings.services
    objects = ConfinedStore(
        objects or S3Store(services.objects, max_connections=2 * settings.io_threads + 4),
        inputs=services.input_buckets,
        output=services.output_bucket,
    )
    store = JobStore.connect(services.store_url, rules=rules_of(settings))
    celery = make_app(services.broker_url, concurrency=settings.concurrency)
    loader = Loader(settings)
    rack = Rack(load or loader.load)

    def unfit(err: BaseException) -> None:
        logger.critical("unfit, leaving", exc_info=err)
        worker.leave(UNFIT_EXIT)

    metrics = None if settings.http is None else Metrics()
    engine = Engine(
        Effects(objects, max_bytes=settings.max_bytes),
        stations or stations_of(settings),
        limits=limits_of(settings),
        version=version("rmbg-queue"),
        unfit=unfit,
        observer=Observers(Journal()) if metrics is None else Observers(metrics, Journal()),
    )
    leases = Leases(
        store,
        ttl_s=settings.lease_s,
        beat_s=settings.lease_s / 3,
        is_progressing=lambda: engine.is_progressing(settings.stall_s),
    )
    tickets = Tickets(
        worker_id=worker_id,
        ttl_s=settings.lease_s,
        store=store,
        objects=objects,
        engine=engine,
        leases=leases,
        rack=rack,
        publish=lambda issued: publish(celery, issued),
        unfit=unfit,
    )
    tasks.register(celery, tickets)
    recovery = Recovery(
        app=celery,
        store=store,
        objects=objects,
        output_bucket=services.output_bucket,
        tickets=tickets,
        describe=_describer(
            worker_id, settings, engine, rack, loader.refused() if load is None else {}
        ),
        every_s=settings.recover_s,
    )
    loop = LoopStamp(celery)
    health = Health(engine=engine, loop=loop, stall_s=settings.stall_s)
    gauges = Gauges(
        engine=engine,
        leases=leases,
        loop=loop,
        recovery=recovery,
        health=health,
        totals=Fresh(store.fleet.totals).get,
        budget_px=settings.budget_px,
        memory_limit_bytes=memory_limit_bytes(settings),
        about={
            "worker_id": worker_id,
            "version": version("rmbg-queue"),
            "device": settings.device,
            "models": ",".join(settings.models),
        },
    )
    worker = Worker(
        settings=settings,
        celery=celery,
        rack=rack,
        engine=engine,
        leases=leases,
        tickets=tickets,
        recovery=recovery,
        loop=loop,
        health=health,
        monitor=_monitor_of(settings, metrics, gauges),
    )
    return worker


def limits_of(settings: WorkerSettings) -> EngineLimits:
    """Return the engine's share of the settings."""
    return EngineLimits(
        max_items=settings.max_items,
        budget_px=settings.budget_px,
        io_threads=settings.io_threads,
        cpu_threads=settings.cpu_threads,
        max_batch_wait_s=settings.batch_wait_s,
    )


def stations_of(settings: WorkerSettings) -> Stations:
    """Return the real stations under the settings' limits."""
    return real_stations(
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_bytes,
        children=settings.cpu_threads,
    )


def rules_of(settings: WorkerSettings) -> Rules:
    """Return the job store's share of the settings."""
    return Rules(lost_after_s=settings.lost_s)


def _monitor_of(
    settings: WorkerSettings, metrics: Metrics | None, gauges: Gauges
) -> Monitor | None:
    if settings.http is None or metrics is None:
        return None
    metrics.registry.register(gauges)
    return Monitor(settings.http, registry=metrics.registry, health=gauges.health)


def _describer(
    worker_id: str,
    settings: WorkerSettings,
    engine: Engine,
    rack: Rack,
    refused: dict[str, str],
) -> Callable[[], WorkerInfo]:
    meter = RateMeter()

    def describe() -> WorkerInfo:
        reasons = refused | rack.refused
        rate = meter.sample(time.monotonic(), engine.ended, working=engine.inside > 0)
        return WorkerInfo(
            worker_id=worker_id,
            slots=settings.concurrency,
            models=tuple(name for name in models.REGISTRY if name not in reasons),
            refused=reasons,
            device=settings.device,
            images_per_s=rate,
            version=version("rmbg-queue"),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    return describe
