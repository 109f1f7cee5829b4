"""One worker process: load the models, serve tickets, leave."""

import logging
import os
import signal
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery import Celery
from celery.apps.worker import Worker as CeleryWorker
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from celery.worker import state

from shared import probes
from shared.broker.queues import QUEUES
from shared.errors import DeviceFull, DeviceLost
from shared.objects import ObjectStore
from worker.consumer import Consumer
from worker.engine import Engine
from worker.engine.limits import Limits
from worker.inference import ModelCache
from worker.lifecycle import UNFIT_EXIT, Phase, Shutdown, log_unexpected, start_loop, start_thread
from worker.monitoring.build import Monitoring
from worker.runtime.device_check import wait_for_device
from worker.runtime.watchdogs import start_watchdogs
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

HURRY_SHARE: Final = 0.6
"""Share of the time to leave after which the process stops waiting for services that do not
answer."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker process, built and not yet running."""

    settings: WorkerSettings
    limits: Limits
    celery: Celery
    models: ModelCache
    engine: Engine
    consumer: Consumer
    monitoring: Monitoring
    objects: ObjectStore
    shutdown: Shutdown

    def run(self) -> int:
        """Load the models, then serve tickets until the process is to leave; return the exit code.

        A process whose device does not work stays, and reports that, until a new one could use it.

        Raises:
            ModelRefused: If a model that is to be loaded at start cannot be.
            InvalidOption: If the address in `RMBG_HTTP` cannot be bound.
            ServiceUnfit: If a service would lose or damage work.
        """
        self.monitoring.start()
        if self.settings.check_services:
            probes.require(self.settings.services, self.objects)
        try:
            for name in self.settings.models:
                self.models.get(name)
        except (DeviceLost, DeviceFull) as err:
            logger.critical("worker unfit", exc_info=err)
            return self._wait_for_device(f"device: {err}")
        self.monitoring.health.is_loaded = True
        setup_logging.connect(_keep_logging, weak=False)
        worker_ready.connect(self._on_ready, weak=False)
        worker_shutting_down.connect(self._on_signal, weak=False)
        start_loop("signals", self.shutdown.serve_requests, shutdown=self.shutdown)
        start_thread("leaving", self._leave)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, self._on_hangup)
        celery_worker = _TicketWorker(
            app=self.celery,
            hostname=f"rmbg-{os.getpid()}@{socket.gethostname()}",
            queues=list(QUEUES),
            pool_cls="threads",
            concurrency=self.consumer.slots.total,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        celery_worker.start()
        self.shutdown.advance(Phase.STOPPED)
        self.consumer.recovery.close()
        self.engine.close()
        if fault := self.engine.device.fault:
            return self._wait_for_device(fault)
        # Celery's own code is only set by an error that it does not expect; it is in the log.
        return self.shutdown.exit_code or (UNFIT_EXIT if celery_worker.exitcode else 0)

    def _wait_for_device(self, fault: str) -> int:
        """Wait until the device works in a new process; return the exit code."""
        works = wait_for_device(
            self.engine.device.works,
            report=partial(self.consumer.recovery.report_fault, fault),
            stopped=self.shutdown.wait_asked,
        )
        self.consumer.recovery.close()
        return UNFIT_EXIT if works else 0

    def _on_ready(self, **_: object) -> None:
        self.consumer.start()
        start_watchdogs(
            self.shutdown,
            engine=self.engine,
            loop=self.monitoring.loop,
            hung_s=self.settings.stall_s + self.settings.lease_s,
            memory_limit_bytes=self.limits.max_rss_bytes,
        )
        self.monitoring.health.is_serving = True
        logger.info("ready", extra={"models": self.models.loaded})

    def _on_signal(self, **_: object) -> None:
        """Request to leave, without taking a lock that the interrupted code may hold."""
        self.shutdown.request("a signal asked for it")

    def _on_hangup(self, *_: object) -> None:
        """Request to leave as after SIGTERM, which Celery handles."""
        self.shutdown.request("the terminal or the session was closed")

    def _leave(self) -> None:
        """Wait until the process leaves, drain the engine, and end the process if it is late."""
        self.shutdown.wait(Phase.DRAINING)
        # What a signal would set: otherwise Celery would fetch the released tickets again.
        state.should_stop = self.shutdown.exit_code  # type: ignore[assignment]  # the stubs know its default only
        try:
            self.engine.drain()
        except BaseException as err:  # noqa: BLE001 - the process must end all the same
            log_unexpected("engine not drained", err)
        hurry_s = HURRY_SHARE * self.settings.drain_s
        if self.shutdown.wait(Phase.STOPPED, hurry_s):
            return
        self.shutdown.advance(Phase.HURRIED)
        if not self.shutdown.wait(Phase.STOPPED, self.settings.drain_s - hurry_s):
            logger.error("not done in time: leaving with items inside")
            os._exit(self.shutdown.exit_code or 1)


class _TicketWorker(CeleryWorker):
    """Celery's worker, which leaves the signal SIGHUP to us: Celery would restart the program."""

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ANN401 - Celery's
        """Install Celery's signal handlers, except for SIGHUP."""
        hangup = signal.getsignal(signal.SIGHUP)
        super().install_platform_tweaks(worker)
        signal.signal(signal.SIGHUP, hangup)


def _keep_logging(**_: object) -> None:
    """Keep our logging set-up; without a receiver Celery would hide everything below a warning."""
