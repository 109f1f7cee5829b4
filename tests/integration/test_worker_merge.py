"""The merge: who may write its documents, when it stops, and what it does without."""

import json

import pytest
from support.jobs import feed, grant, submit
from support.line import MAX_BYTES, MAX_PIXELS
from support.pictures import encoded, photo

from shared.broker.queues import RECOVERY, SUSPECT
from shared.errors import StoreUnavailable
from shared.job.keys import report_key, results_key
from shared.job.spec import JobState
from shared.objects import PreconditionFailed
from worker.imaging.operations import real_stations

pytestmark = pytest.mark.integration

MODEL = "isnet-general-use"


def states(desk, job_id):
    """Return what `results.jsonl` says of each item."""
    lines = desk.objects.get("cutouts", results_key(job_id)).data.splitlines()
    return [json.loads(line)["state"] for line in lines]


def has_pictures(desk, job_id):
    return b"Before and after" in desk.objects.get("cutouts", report_key(job_id)).data


def let_leases_run_out(desk):
    client = desk.store.connection.client
    client.zadd("rmbg:leased", dict.fromkeys(client.zrange("rmbg:leased", 0, -1), 0))
    desk.published += feed(desk.store)


def wake_the_parked(desk):
    client = desk.store.connection.client
    client.zadd("rmbg:parked", dict.fromkeys(client.zrange("rmbg:parked", 0, -1), 0))
    desk.published += feed(desk.store)


@pytest.fixture
def shown(desks):
    """A desk, and a job of three real pictures whose merge is next."""
    desk = desks(stations=real_stations(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1))
    for n in range(3):
        desk.objects.put("inbox", f"{n}.jpg", encoded(photo(40, 30), "JPEG"), content_type="-")
    job_id = submit(desk.store, 3, rem_mode=MODEL)
    desk.published += feed(desk.store)
    desk.serve()
    return desk, job_id


def test_the_report_does_without_pictures_that_are_gone(shown):
    """An input bucket that was emptied or taken away since must not keep a job from its end."""
    desk, job_id = shown

    desk.objects.missing.add("inbox")
    desk.run()

    assert desk.store.queries.status(job_id).finished_at is not None
    assert not has_pictures(desk, job_id)


@pytest.mark.parametrize("document", ["results.jsonl", "report.html"])
def test_a_zombies_merge_replaces_no_later_generations_documents(desks, document):
    """Stopped just before it writes, it goes on when the job has been retried and is done."""
    zombie = desks()
    other = desks(store=zombie.objects)
    job_id = zombie.submit(4)
    zombie.objects.put("inbox", "1.jpg", b"bad", content_type="image/jpeg")
    zombie.serve()

    def meanwhile(call, bucket, key):
        if call == "put" and key.endswith(document):
            zombie.objects.before = lambda *_: None
            let_leases_run_out(other)
            other.run()
            assert states(other, job_id) == ["done", "failed", "done", "done"]
            zombie.objects.put("inbox", "1.jpg", b"fine", content_type="image/jpeg")
            other.store.submissions.retry(job_id)
            other.published += feed(other.store)
            other.run()

    zombie.objects.before = meanwhile
    zombie.serve()

    assert states(zombie, job_id) == ["done"] * 4
    assert b"bad" not in zombie.objects.get("cutouts", report_key(job_id)).data
    assert other.store.queries.status(job_id).state is JobState.DONE
    assert zombie.placed("leased") == zombie.placed("parked") == 0


def test_a_merge_whose_own_write_was_not_answered_begins_again_and_ends(desk, monkeypatch):
    """The store's client sends it once more, and is told that something is there already."""
    job_id = desk.submit(4)
    desk.serve()
    put, lost = desk.objects.put, []

    def unanswered(bucket, key, data, **details):
        etag = put(bucket, key, data, **details)
        if key.endswith("results.jsonl") and not lost:
            lost.append(key)
            raise PreconditionFailed(key)
        return etag

    monkeypatch.setattr(desk.objects, "put", unanswered)
    desk.serve()
    assert desk.deaths(job_id) == [None]
    wake_the_parked(desk)
    desk.run()

    assert desk.store.queries.status(job_id).state is JobState.DONE
    assert states(desk, job_id) == ["done"] * 4


@pytest.mark.parametrize("at", ["shards/", "results.jsonl", "2.jpg"])
def test_a_worker_that_leaves_gives_its_merge_back(shown, at):
    """A long one would hold the process to its limit, and count as a death."""
    desk, job_id = shown

    def before(call, bucket, key):
        if at in key:
            desk.tickets.drain()

    desk.objects.before = before
    desk.serve()

    assert desk.placed("leased") == 0
    assert desk.deaths(job_id) == [None]
    assert [issued.queue for issued in desk.published] == [RECOVERY]
    assert desk.store.queries.status(job_id).finished_at is None


def test_a_source_that_the_store_does_not_hand_out_keeps_no_job_from_its_end(shown):
    """An archived object answers so for ever; the report does without its picture."""
    desk, job_id = shown

    def before(call, bucket, key):
        if (call, bucket, key) == ("get", "inbox", "1.jpg"):
            raise StoreUnavailable("InvalidObjectState")

    desk.objects.before = before
    desk.serve()

    assert desk.store.queries.status(job_id).state is JobState.DONE
    page = desk.objects.get("cutouts", report_key(job_id)).data
    assert b"<figcaption>0.jpg" in page
    assert b"<figcaption>1.jpg" not in page


@pytest.mark.parametrize(("deaths", "queue"), [(1, RECOVERY), (2, SUSPECT)])
def test_a_merge_that_has_cost_two_workers_is_done_without_pictures(shown, deaths, queue):
    """They are all in it that a stranger has made; without this it would be tried for ever."""
    desk, job_id = shown
    for _ in range(deaths):
        grant(desk.store, desk.published.pop(0), "another")
        let_leases_run_out(desk)
    assert [issued.queue for issued in desk.published] == [queue]

    desk.run()

    assert desk.store.queries.status(job_id).state is JobState.DONE
    assert has_pictures(desk, job_id) == (deaths < 2)
