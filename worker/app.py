"""Builds everything once, from settings, and runs it until it is told to leave."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import cv2
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from celery.worker import state

from shared import models
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from shared.jobstore.values import WorkerInfo
from shared.objects import ObjectStore, S3Store
from shared.queue import QUEUES, make_app, publish
from worker import tasks
from worker.confined import ConfinedStore
from worker.effects import Effects
from worker.engine import Engine, EngineLimits
from worker.flow import Model
from worker.fresh import Fresh
from worker.gauges import Gauges
from worker.health import Health
from worker.journal import Journal
from worker.leases import Leases
from worker.line import Stations, real_stations
from worker.metrics import Metrics
from worker.models import Loader
from worker.monitor import Monitor
from worker.observe import Observers
from worker.rack import Rack
from worker.rate import RateMeter
from worker.recovery import Recovery
from worker.settings import WorkerSettings
from worker.tickets import Tickets
from worker.watchdogs import (
    UNFIT_EXIT,
    LoopStamp,
    Watchdogs,
    checks_of,
    memory_limit_bytes,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """One worker process, built and not yet running."""

    settings: WorkerSettings
    celery: Celery
    rack: Rack
    engine: Engine
    leases: Leases
    tickets: Tickets
    recovery: Recovery
    loop: LoopStamp
    health: Health
    monitor: Monitor | None

    def run(self) -> int:
        """Load the models, then serve tickets until SIGTERM or SIGINT; return the exit code.

        Raises:
            ModelRefused: If a model that is to be loaded at start cannot be.
            InvalidOption: If `RMBG_HTTP` cannot be served.
        """
        if self.monitor is not None:
            self.monitor.start()
        for name in self.settings.models:
            self.rack.get(name)
        self.health.is_loaded = True
        setup_logging.connect(_leave_logging_alone, weak=False)
        worker_ready.connect(self._on_ready, weak=False)
        worker_shutting_down.connect(self._on_leaving, weak=False)
        celery_worker = self.celery.Worker(
            hostname=f"rmbg-{os.getpid()}@{socket.gethostname()}",
            queues=list(QUEUES),
            pool_cls="threads",
            concurrency=self.settings.concurrency,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        celery_worker.start()
        self.recovery.close()
        self.leases.close()
        self.engine.close()
        return int(celery_worker.exitcode or 0)

    def leave(self, code: int) -> None:
        """Take no more tickets, give everything back, and have `run` return *code*.

        Celery is told what a signal would tell it: otherwise it would go on to fetch the very
        tickets that are given back here.
        """
        state.should_stop = code  # type: ignore[assignment]  # the stubs know its default only
        self._begin_to_drain(code)

    def _on_ready(self, **_: object) -> None:
        self.recovery.start()
        checks = checks_of(self.settings, self.engine, self.loop)
        Watchdogs(checks, self.leave).start()
        self.health.is_serving = True
        logger.info("ready", extra={"models": self.rack.loaded})

    def _on_leaving(self, **_: object) -> None:
        self._begin_to_drain(1)

    def _begin_to_drain(self, late_code: int) -> None:
        """Drain in the background; a process that is not gone by then ends with *late_code*."""
        self.health.is_draining = True
        # In a thread of its own: this is called from a signal handler, which must not wait for
        # a lock that the interrupted code may hold.
        threading.Thread(target=self._drain, name="drain", daemon=True).start()
        timer = threading.Timer(self.settings.drain_s, lambda: os._exit(late_code))
        timer.daemon = True
        timer.start()

    def _drain(self) -> None:
        logger.info("draining")
        self.tickets.drain()
        self.engine.drain()


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
        totals=Fresh(store.totals).get,
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


def _leave_logging_alone(**_: object) -> None:
    """Being there is enough: otherwise Celery would let nothing below a warning through."""
