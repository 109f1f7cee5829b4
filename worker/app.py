"""Build a worker: everything once, from settings."""

import os
import secrets
import socket
import warnings
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from shared.broker.app import make_app
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from shared.objects import ObjectStore
from shared.objects.choice import make_worker_store
from worker.consumer import build_consumer
from worker.engine import DeviceState, Stages
from worker.engine.build import VERSION, build_engine, default_stages, worker_limits
from worker.engine.limits import Limits
from worker.inference import Loader, Model, ModelCache
from worker.lifecycle import Shutdown
from worker.monitoring.build import build_monitoring, build_observers
from worker.runtime.device_check import works_in_new_process
from worker.runtime.process import Worker
from worker.settings import WorkerSettings
from worker.storage import BucketGuard, OutputWriter

StagesFactory: TypeAlias = Callable[[OutputWriter], Stages]


def build_app(
    settings: WorkerSettings,
    *,
    load: Callable[[str], Model] | None = None,
    objects: ObjectStore | None = None,
    stages: StagesFactory | None = None,
    stations: StagesFactory | None = None,
    device_works: Callable[[], bool] | None = None,
) -> Worker:
    """Return a worker. Nothing is connected and no weights are read yet.

    Args:
        settings: What the worker is configured with.
        load: Loads a model by name, in place of the real loader.
        objects: An object store in place of S3.
        stages: Builds the list of stages, in place of the product's own.
        stations: The old name of *stages*, which the next version drops.
        device_works: Checks the device in a new process, when it fails here. By default
            `rmbg-worker --check` does. With *load* nothing is known, and it is taken to work.
    """
    if stations is not None:
        warnings.warn("build_app(stations=) is now stages=", DeprecationWarning, stacklevel=2)
    services, limits = settings.services, worker_limits(settings)
    guard = BucketGuard(
        objects or _make_store(settings, limits),
        inputs=services.input_buckets,
        output=services.output_bucket,
    )
    store = JobStore.connect(services.store_url, rules=Rules(lost_after_s=settings.lost_s))
    celery = make_app(services.broker_url, slots=settings.concurrency)
    loader, shutdown = Loader(settings), Shutdown()
    models = ModelCache(load or loader.load)
    built = (stages or stations or partial(default_stages, settings, limits))(
        OutputWriter(guard, max_bytes=settings.max_bytes)
    )
    names = [stage.name for stage in built]
    metrics, event_log = build_observers(names)
    engine = build_engine(
        limits,
        built,
        shutdown=shutdown,
        observers=(metrics, event_log),
        device=DeviceState(device_works or (_presume if load else works_in_new_process)),
    )
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    consumer = build_consumer(
        settings,
        worker_id=worker_id,
        version=VERSION,
        celery=celery,
        store=store,
        objects=guard,
        engine=engine,
        models=models,
        refused={} if load else loader.refused(),
        shutdown=shutdown,
    )
    monitoring = build_monitoring(
        settings,
        limits,
        about={
            "worker_id": worker_id,
            "version": VERSION,
            "device": settings.device,
            "models": ",".join(settings.models),
        },
        celery=celery,
        store=store,
        engine=engine,
        consumer=consumer,
        metrics=metrics,
        models=models,
        stages=names,
        shutdown=shutdown,
    )
    return Worker(
        settings=settings,
        limits=limits,
        celery=celery,
        models=models,
        engine=engine,
        consumer=consumer,
        monitoring=monitoring,
        objects=guard,
        shutdown=shutdown,
    )


def _make_store(settings: WorkerSettings, limits: Limits) -> ObjectStore:
    return make_worker_store(
        settings.services.objects,
        client=settings.store_client,
        max_connections=4 * limits.io_threads + 4,
        max_bytes=settings.max_bytes,
    )


def _presume() -> bool:
    return True
