"""Build a worker: everything once, from settings."""

from __future__ import annotations

import os
import secrets
import socket
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TypeAlias

import cv2
from celery import Celery

from shared.broker.app import make_app, publish
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from shared.objects import ObjectStore, S3Store
from worker.consumer.housekeeping import Housekeeping
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery
from worker.consumer.task import register
from worker.consumer.throughput import Registration
from worker.consumer.ticket_consumer import TicketConsumer
from worker.engine.engine import Engine, EngineLimits
from worker.engine.observer import Observer, Observers
from worker.engine.stages import Stages, build_stages
from worker.imaging.decode import Limits
from worker.imaging.operations import ImageOperations
from worker.inference.api import Model
from worker.inference.loader import Loader
from worker.inference.model_cache import ModelCache
from worker.lifecycle.shutdown import Shutdown
from worker.monitoring.cached_value import CachedValue
from worker.monitoring.collector import FleetCollector
from worker.monitoring.event_log import EventLog
from worker.monitoring.health import Health
from worker.monitoring.http_server import HttpServer
from worker.monitoring.liveness import LoopStamp
from worker.monitoring.metrics import Metrics
from worker.runtime.process import Worker
from worker.runtime.watchdogs import Watchdogs
from worker.settings import WorkerSettings
from worker.storage.bucket_guard import BucketGuard
from worker.storage.output_writer import OutputWriter

VERSION = version("rmbg-queue")
StagesFactory: TypeAlias = Callable[[OutputWriter], Stages]


def build_app(
    settings: WorkerSettings,
    *,
    load: Callable[[str], Model] | None = None,
    objects: ObjectStore | None = None,
    stages: StagesFactory | None = None,
    stations: StagesFactory | None = None,
) -> Worker:
    """Return a worker. Nothing is connected and no weights are read yet.

    Args:
        settings: What the worker is configured with.
        load: Loads a model by name, in place of the real loader.
        objects: An object store in place of S3.
        stages: Builds the list of stages, in place of `build_stages`.
        stations: The old name of *stages*; it goes with the next version.
    """
    if stations is not None:
        warnings.warn("build_app(stations=) is now stages=", DeprecationWarning, stacklevel=2)
    cv2.setNumThreads(1)  # the engine's threads are the parallelism
    services = settings.services
    guard = BucketGuard(
        objects or S3Store(services.objects, max_connections=2 * settings.io_threads + 4),
        inputs=services.input_buckets,
        output=services.output_bucket,
    )
    writer = OutputWriter(guard, max_bytes=settings.max_bytes)
    loader = Loader(settings)
    return _assemble(
        settings,
        celery=make_app(services.broker_url, concurrency=settings.concurrency),
        store=JobStore.connect(services.store_url, rules=rules_of(settings)),
        objects=guard,
        models=ModelCache(load or loader.load),
        refused={} if load else loader.refused(),
        stages=(stages or stations or partial(real_stages, settings))(writer),
    )


def real_stages(settings: WorkerSettings, writer: OutputWriter) -> Stages:
    """Return the stages of the product under the settings' limits."""
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    imaging = ImageOperations(limits, children=settings.cpu_threads)
    return build_stages(writer, imaging, version=VERSION)


def limits_of(settings: WorkerSettings) -> EngineLimits:
    """Return the engine's share of the settings."""
    return EngineLimits(
        max_items=settings.max_items,
        budget_px=settings.budget_px,
        io_threads=settings.io_threads,
        cpu_threads=settings.cpu_threads,
        max_batch_wait_s=settings.batch_wait_s,
    )


def rules_of(settings: WorkerSettings) -> Rules:
    """Return the job store's share of the settings."""
    return Rules(lost_after_s=settings.lost_s)


def _assemble(
    settings: WorkerSettings,
    *,
    celery: Celery,
    store: JobStore,
    objects: ObjectStore,
    models: ModelCache,
    refused: dict[str, str],
    stages: Stages,
) -> Worker:
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    shutdown = Shutdown()
    observers: list[Observer] = [EventLog()]
    metrics = None if settings.http is None else Metrics([stage.name for stage in stages])
    if metrics is not None:
        observers.append(metrics)
    engine = Engine(
        stages, limits=limits_of(settings), shutdown=shutdown, observer=Observers(*observers)
    )
    leases = Leases(
        store,
        ttl_s=settings.lease_s,
        is_progressing=partial(engine.is_progressing, settings.stall_s),
        shutdown=shutdown,
    )
    consumer = TicketConsumer(
        worker_id=worker_id,
        ttl_s=settings.lease_s,
        store=store,
        objects=objects,
        engine=engine,
        leases=leases,
        models=models,
        publish=partial(publish, celery),
        shutdown=shutdown,
    )
    register(celery, consumer)
    registration = Registration(
        worker_id=worker_id,
        slots=settings.concurrency,
        device=settings.device,
        version=VERSION,
        engine=engine,
        models=models,
        refused=refused,
    )
    recovery = Recovery(
        app=celery,
        store=store,
        consumer=consumer,
        registration=registration,
        every_s=settings.recover_s,
    )
    loop = LoopStamp(celery)
    health = Health(engine=engine, loop=loop, shutdown=shutdown, stall_s=settings.stall_s)
    if metrics is not None:
        metrics.registry.register(
            FleetCollector(
                engine=engine,
                leases=leases,
                loop=loop,
                recovery=recovery,
                health=health,
                totals=CachedValue(store.totals).get,
                budget_px=settings.budget_px,
                memory_limit_bytes=settings.memory_limit_bytes,
                about={
                    "worker_id": worker_id,
                    "version": VERSION,
                    "device": settings.device,
                    "models": ",".join(settings.models),
                },
            )
        )
    return Worker(
        settings=settings,
        celery=celery,
        models=models,
        engine=engine,
        recovery=recovery,
        housekeeping=Housekeeping(objects, settings.services.output_bucket),
        watchdogs=Watchdogs(
            engine=engine,
            loop=loop,
            hung_s=settings.stall_s + settings.lease_s,
            memory_limit_bytes=settings.memory_limit_bytes,
        ),
        loop=loop,
        health=health,
        http_server=_http_server(settings, metrics, health),
        shutdown=shutdown,
    )


def _http_server(
    settings: WorkerSettings, metrics: Metrics | None, health: Health
) -> HttpServer | None:
    if settings.http is None or metrics is None:
        return None
    return HttpServer(settings.http, registry=metrics.registry, health=health)
