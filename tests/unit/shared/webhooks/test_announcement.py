"""The event of a job's end, and its delivery in the bucket."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore

from shared.job.spec import JobState
from shared.job.webhook import JobEvent, Webhook
from shared.jobstore.values import JobStatus
from shared.webhooks import DeliveryState, Outbox, announce

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
URL = "https://shop.example/secret"
ALL = Webhook(url=URL)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def outbox(store):
    return Outbox(store, "cutouts")


def write(store, *, at=NOW, is_cancelled=False, webhook=ALL, **changes):
    """Write the end of a job."""
    owned = spec(webhook=webhook, tenant="shop")
    announce(store, owned, status(**changes), at, is_cancelled=is_cancelled)


def status(**changes):
    """Return the status of a job whose images have all ended."""
    given = {
        "job_id": "job",
        "state": JobState.FINISHING,
        "waiting_for": None,
        "total": 3,
        "done": 2,
        "failed": 1,
        "created_at": NOW - timedelta(hours=1),
        "finished_at": None,
        "images_per_s": None,
        "eta_s": None,
        "generation": 1,
        "error_classes": {"ObjectMissing": 1},
        "verdicts": {"ok": 2},
    }
    return JobStatus(**given | changes)


def told(outbox, job_id="job"):
    return [each.delivery for each in outbox.of_job(job_id)]


def test_the_end_of_a_job_is_written_once(store, outbox):
    for later in range(3):
        write(store, at=NOW + timedelta(minutes=later))

    [delivery] = told(outbox)
    assert (delivery.state, delivery.next_at, delivery.tenant) == (
        DeliveryState.PENDING,
        NOW,
        "shop",
    )
    assert json.loads(delivery.body) == {
        "type": "job.done",
        "timestamp": "2026-11-27T12:00:00.000+00:00",
        "data": {
            "job_id": "job",
            "generation": 1,
            "total": 3,
            "done": 2,
            "failed": 1,
            "error_classes": {"ObjectMissing": 1},
            "verdicts": {"ok": 2},
            "created_at": "2026-11-27T11:00:00.000+00:00",
        },
    }
    [note] = outbox.notes(DeliveryState.PENDING)
    assert (note.job_id, note.webhook_id) == ("job", delivery.webhook_id)


@pytest.mark.parametrize(
    ("is_cancelled", "changes", "event"),
    [
        (False, {}, JobEvent.DONE),
        (False, {"done": 0, "failed": 3}, JobEvent.FAILED),
        (True, {}, JobEvent.CANCELLED),
        (True, {"done": 0}, JobEvent.CANCELLED),
    ],
)
def test_a_webhook_is_told_of_the_ends_that_it_asked_for(
    store, outbox, is_cancelled, changes, event
):
    for asked in JobEvent:
        webhook = Webhook(url=URL, events=[asked])
        write(store, webhook=webhook, is_cancelled=is_cancelled, job_id=asked, **changes)

    assert {each: [one.event for one in told(outbox, each)] for each in JobEvent} == {
        each: [event] if each is event else [] for each in JobEvent
    }


def test_a_job_without_a_webhook_writes_nothing(store):
    write(store, webhook=None)

    assert list(store.keys("cutouts")) == []


@pytest.mark.parametrize(
    "other",
    [
        {"job_id": "other"},
        {"generation": 2},
        {"done": 0, "failed": 3},
        {"created_at": NOW - timedelta(minutes=1)},  # an ID is free a week after its job's end
    ],
)
def test_every_end_has_an_id_of_its_own(store, outbox, other):
    write(store)
    write(store, **other)

    ids = {each.webhook_id for each in outbox.notes(DeliveryState.PENDING)}
    assert len(ids) == 2


def test_two_writers_do_not_both_change_a_delivery(store, outbox):
    write(store)
    [read] = outbox.of_job("job")
    changed = read.delivery.model_copy(update={"attempts": 1})

    assert outbox.replace(read, changed) is not None
    assert outbox.replace(read, changed) is None


def test_notes_follow_the_state(store, outbox):
    write(store)
    [read] = outbox.of_job("job")
    dead = read.delivery.model_copy(update={"state": DeliveryState.DEAD})

    outbox.replace(read, dead)
    outbox.end(dead)
    assert [len(list(outbox.notes(each))) for each in ("pending", "dead")] == [0, 1]

    again = outbox.begin_again("job", dead.webhook_id, NOW)
    assert again.state is DeliveryState.PENDING
    assert [len(list(outbox.notes(each))) for each in ("pending", "dead")] == [1, 0]

    outbox.end(dead)  # by a gateway that has not seen the change
    assert len(list(outbox.notes(DeliveryState.PENDING))) == 1
    assert outbox.begin_again("job", "wh_other", NOW) is None
