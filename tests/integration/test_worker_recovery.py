"""Recovery and housekeeping of a worker continue while other calls hang or fail."""

import pytest
from support.jobs import submit, worker
from support.memory_store import MemoryStore
from support.stand_ins import Valve
from support.until import until

from shared.broker.app import make_app
from shared.broker.queues import BULK
from shared.errors import StoreUnavailable
from worker.consumer.recovery import Recovery

pytestmark = pytest.mark.integration


class NoTickets:
    """A ticket consumer that processes nothing."""

    running = 0


@pytest.fixture
def start(redis_server, store):
    """Start a worker's recovery with a store in memory."""
    app = make_app(redis_server.url.removesuffix("1") + "0")
    started = []

    def start(objects):
        recovery = Recovery(
            app=app,
            store=store,
            objects=objects,
            output_bucket="cutouts",
            tickets=NoTickets(),
            describe=worker,
            every_s=0.05,
        )
        recovery.start()
        started.append(recovery)
        return recovery

    yield start
    for recovery in started:
        recovery.close()
    app.close()


def test_a_hanging_listing_stops_neither_feeding_nor_registration(start, store):
    """A listing may hang for longer than a registration is valid."""
    objects, valve = MemoryStore(), Valve()
    objects.before = valve
    recovery = start(objects)
    valve.wait_for_one()
    until(store.workers)

    submit(store, 4)

    until(lambda: recovery.issued[BULK] == 1)
    valve.open()


def test_old_previews_are_deleted_after_a_failed_attempt(start, store, monkeypatch):
    """An error of the store, or an unforeseen one, skips one round of housekeeping only."""
    monkeypatch.setattr("worker.consumer.recovery.HOUSEKEEPING_S", 0.01)
    objects = MemoryStore()
    objects.put("cutouts", "_preview/2020-01-01/j/0.png", b"x", content_type="image/png")
    faults = [StoreUnavailable("away"), RuntimeError("made up")]

    def before(call, bucket, key):
        if faults:
            raise faults.pop(0)

    objects.before = before
    start(objects)

    until(lambda: objects.keys("cutouts") == [])
