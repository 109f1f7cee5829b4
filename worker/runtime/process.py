"""One worker process, from its models' loading until it has left."""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import dataclass

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from celery.worker import state

from shared.broker.queues import QUEUES
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery
from worker.consumer.ticket_consumer import Tickets
from worker.engine.engine import Engine
from worker.inference.model_cache import Rack
from worker.monitoring.health import Health
from worker.monitoring.http_server import Monitor
from worker.monitoring.liveness import LoopStamp
from worker.runtime.watchdogs import Watchdogs, checks_of
from worker.settings import WorkerSettings

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
            DeviceLost: If the device fails while it is.
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


def _leave_logging_alone(**_: object) -> None:
    """Being there is enough: otherwise Celery would let nothing below a warning through."""
