"""Recovery and housekeeping of a worker continue while other calls hang or fail."""

from datetime import UTC, datetime, timedelta

import pytest
from support.jobs import submit, worker
from support.memory_store import MemoryStore
from support.stand_ins import Valve, stand_in_model
from support.until import until

from shared.broker.app import make_app
from shared.broker.queues import BULK
from shared.errors import StoreUnavailable
from worker.consumer.build import Consumer
from worker.consumer.housekeeping import Housekeeping
from worker.consumer.recovery import Recovery
from worker.consumer.slots import Slots
from worker.inference import ModelCache
from worker.lifecycle import Phase, Shutdown

pytestmark = pytest.mark.integration


class IdleConsumer:
    """A ticket consumer that processes nothing."""

    running = 0


class StandInRegistration:
    """The registration of a worker that has no engine."""

    worker_id = "w"

    def info(self):
        return worker()


class NoLeases:
    """Leases of a worker that holds no ticket."""

    every_s = 1.0

    def round(self):
        pass


@pytest.fixture
def start(redis_server, store):
    """Start the rounds of a worker with a store in memory; return its recovery."""
    app = make_app(redis_server.url.removesuffix("1") + "0")
    shutdown = Shutdown()
    slots = Slots(3, 1, ModelCache(stand_in_model))

    def start(objects):
        recovery = Recovery(
            app=app,
            store=store,
            consumer=IdleConsumer(),
            registration=StandInRegistration(),
            slots=slots,
            every_s=0.05,
        )
        in_a_week = datetime.now(UTC) + timedelta(days=7)
        housekeeping = Housekeeping(
            objects, "cutouts", store.queries.is_known, every_s=0.01, now=lambda: in_a_week
        )
        Consumer(NoLeases(), recovery, slots, housekeeping, shutdown).start()
        return recovery

    yield start
    shutdown.advance(Phase.STOPPED)
    app.close()


def test_a_hanging_listing_stops_neither_feeding_nor_registration(start, store):
    """A listing may hang for longer than a registration is valid."""
    objects, valve = MemoryStore(), Valve()
    objects.before = valve
    recovery = start(objects)
    valve.wait_for_one()
    until(store.fleet.workers)

    submit(store, 4)

    until(lambda: recovery.issued[BULK] == 1)
    valve.open()


def test_old_previews_are_deleted_after_a_failed_attempt(start):
    """An error of the store, or an unforeseen one, skips one round of housekeeping only."""
    objects = MemoryStore()
    objects.put("cutouts", "_preview/2020-01-01/j/0.png", b"x", content_type="image/png")
    faults = [StoreUnavailable("unavailable"), RuntimeError("injected")]

    def before(call, bucket, key):
        if faults:
            raise faults.pop(0)

    objects.before = before
    start(objects)

    until(lambda: objects.keys("cutouts") == [])
