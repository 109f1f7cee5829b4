"""Merging a job's shards: which worker may write, when it stops, and what it can do without."""

import json

import pytest
from support.jobs import feed, grant, submit
from support.line import MAX_BYTES, MAX_PIXELS
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.redelivery import end_parking, expire_leases

from shared.broker.queues import RECOVERY, SUSPECT
from shared.errors import StoreUnavailable
from shared.job.keys import report_key, results_key
from shared.job.spec import JobState
from shared.objects import PreconditionFailed
from worker.imaging.operations import real_stations

pytestmark = pytest.mark.integration

MODEL = "isnet-general-use"


def states(desk, job_id):
    """Return the state of each item in `results.jsonl`."""
    lines = desk.objects.get("cutouts", results_key(job_id)).data.splitlines()
    return [json.loads(line)["state"] for line in lines]


def has_images(desk, job_id):
    return b"Before and after" in desk.objects.get("cutouts", report_key(job_id)).data


class StoreThatLosesAnAnswer(MemoryStore):
    """Write `results.jsonl`, lose the first answer, and see the client's own retry refused."""

    def __init__(self):
        super().__init__()
        self.lost = False

    def put(self, bucket, key, data, **options):
        etag = super().put(bucket, key, data, **options)
        if key.endswith("results.jsonl") and not self.lost:
            self.lost = True
            raise PreconditionFailed(key)
        return etag


@pytest.fixture
def shown(desks):
    """A desk, and a job of three real images whose next ticket is the merge."""
    desk = desks(stations=real_stations(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1))
    for n in range(3):
        desk.objects.put("inbox", f"{n}.jpg", encoded(photo(40, 30), "JPEG"), content_type="-")
    job_id = submit(desk.store, 3, rem_mode=MODEL)
    desk.published += feed(desk.store)
    desk.serve()
    return desk, job_id


def test_the_report_leaves_out_images_that_no_longer_exist(shown):
    """A job ends even if its input bucket was emptied or deleted in the meantime."""
    desk, job_id = shown

    desk.objects.missing.add("inbox")
    desk.run()

    assert desk.store.status(job_id).finished_at is not None
    assert not has_images(desk, job_id)


@pytest.mark.parametrize("document", ["results.jsonl", "report.html"])
def test_a_merge_without_a_lease_does_not_replace_documents_of_a_later_generation(desks, document):
    """A worker is stopped just before it writes; it resumes after a retry of the job is done."""
    zombie = desks()
    other = desks(store=zombie.objects)
    job_id = zombie.submit(4)
    zombie.objects.put("inbox", "1.jpg", b"bad", content_type="image/jpeg")
    zombie.serve()

    def meanwhile(call, bucket, key):
        if call == "put" and key.endswith(document):
            zombie.objects.before = lambda *_: None
            expire_leases(other)
            other.run()
            assert states(other, job_id) == ["done", "failed", "done", "done"]
            zombie.objects.put("inbox", "1.jpg", b"fine", content_type="image/jpeg")
            other.store.retry(job_id)
            other.published += feed(other.store)
            other.run()

    zombie.objects.before = meanwhile
    zombie.serve()

    assert states(zombie, job_id) == ["done"] * 4
    assert b"bad" not in zombie.objects.get("cutouts", report_key(job_id)).data
    assert other.store.status(job_id).state is JobState.DONE
    assert zombie.placed("leased") == zombie.placed("parked") == 0


def test_a_merge_whose_write_was_not_answered_starts_again_and_ends(desks):
    """The S3 client repeats the request and finds its own object already there."""
    desk = desks(store=StoreThatLosesAnAnswer())
    job_id = desk.submit(4)
    desk.serve()

    desk.serve()
    assert desk.objects.lost
    assert desk.deaths(job_id) == [None]
    end_parking(desk)
    desk.run()

    assert desk.store.status(job_id).state is JobState.DONE
    assert states(desk, job_id) == ["done"] * 4


@pytest.mark.parametrize("at", ["shards/", "results.jsonl", "2.jpg"])
def test_a_draining_worker_releases_its_merge(shown, at):
    """A long merge would outlast the time to drain, and then count as a death."""
    desk, job_id = shown

    def before(call, bucket, key):
        if at in key:
            desk.tickets.drain()

    desk.objects.before = before
    desk.serve()

    assert desk.placed("leased") == 0
    assert desk.deaths(job_id) == [None]
    assert [issued.queue for issued in desk.published] == [RECOVERY]
    assert desk.store.status(job_id).finished_at is None


def test_a_source_that_the_store_refuses_to_return_does_not_stop_the_merge(shown):
    """An archived object is always refused; the report leaves out its image."""
    desk, job_id = shown

    def before(call, bucket, key):
        if (call, bucket, key) == ("get", "inbox", "1.jpg"):
            raise StoreUnavailable("InvalidObjectState")

    desk.objects.before = before
    desk.serve()

    assert desk.store.status(job_id).state is JobState.DONE
    page = desk.objects.get("cutouts", report_key(job_id)).data
    assert b"<figcaption>0.jpg" in page
    assert b"<figcaption>1.jpg" not in page


@pytest.mark.parametrize(("deaths", "queue"), [(1, RECOVERY), (2, SUSPECT)])
def test_a_merge_whose_worker_died_twice_leaves_out_the_images(shown, deaths, queue):
    """Images are the only untrusted part of a merge; one that crashes it would do so forever."""
    desk, job_id = shown
    for _ in range(deaths):
        grant(desk.store, desk.published.pop(0), "another")
        expire_leases(desk)
    assert [issued.queue for issued in desk.published] == [queue]

    desk.run()

    assert desk.store.status(job_id).state is JobState.DONE
    assert has_images(desk, job_id) == (deaths < 2)
