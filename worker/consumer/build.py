"""Build the consumer's parts of one worker process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from celery import Celery

from shared.broker.app import publish
from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.jobstore.store import JobStore
from shared.objects import ObjectStore
from worker.consumer.housekeeping import Housekeeping
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery
from worker.consumer.slots import Slots
from worker.consumer.task import register
from worker.consumer.throughput import Registration
from worker.consumer.ticket_consumer import TicketConsumer
from worker.engine import Engine
from worker.inference import ModelCache
from worker.lifecycle import Shutdown, start_loop
from worker.settings import WorkerSettings
from worker.storage import AssetReader


@dataclass(frozen=True)
class Consumer:
    """What serves tickets, and what every worker does besides."""

    leases: Leases
    recovery: Recovery
    slots: Slots
    housekeeping: Housekeeping
    shutdown: Shutdown

    def start(self) -> None:
        """Begin the rounds, once the process serves tickets; an outage skips a round.

        Each has a thread of its own: a listing that hangs for longer than this worker's
        registration lasts must not make the worker look dead, nor keep the queues from being fed.
        """
        outages = (BucketUnavailable, RedisUnavailable, StoreUnavailable)
        for name, part in (
            ("leases", self.leases),
            ("recovery", self.recovery),
            ("housekeeping", self.housekeeping),
        ):
            start_loop(
                name, part.round, shutdown=self.shutdown, every_s=part.every_s, outages=outages
            )


def build_consumer(
    settings: WorkerSettings,
    *,
    worker_id: str,
    version: str,
    celery: Celery,
    store: JobStore,
    objects: ObjectStore,
    engine: Engine,
    models: ModelCache,
    refused: Mapping[str, str],
    shutdown: Shutdown,
) -> Consumer:
    """Return the consumer, with its task registered in *celery*."""
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
        assets=AssetReader(objects, max_bytes=settings.max_bytes),
        publish=partial(publish, celery),
        shutdown=shutdown,
    )
    register(celery, consumer)
    registration = Registration(
        worker_id=worker_id,
        slots=settings.concurrency,
        device=settings.device,
        version=version,
        engine=engine,
        models=models,
        refused=refused,
    )
    slots = Slots(settings.concurrency, settings.interactive_slots, models)
    recovery = Recovery(
        app=celery,
        store=store,
        consumer=consumer,
        registration=registration,
        slots=slots,
        every_s=settings.recover_s,
    )
    housekeeping = Housekeeping(
        objects,
        settings.services.output_bucket,
        store.queries.is_known,
        keep_previews_days=settings.keep_previews_days,
    )
    return Consumer(leases, recovery, slots, housekeeping, shutdown)
