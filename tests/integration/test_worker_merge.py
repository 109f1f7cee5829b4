"""Merging a job's shards: which worker may write, when it stops, and what it can do without."""

import json

import pytest
from support.engine_harness import MAX_BYTES, MAX_PIXELS
from support.jobs import feed, grant, submit
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.redelivery import end_parking, expire_leases

from shared.broker.queues import RECOVERY, SUSPECT
from shared.errors import StoreUnavailable
from shared.job.keys import report_key, results_key
from shared.job.spec import JobState
from shared.objects import PreconditionFailed
from worker.imaging.operations import ImageOperations

pytestmark = pytest.mark.integration

MODEL = "isnet-general-use"


def states(consumer, job_id):
    """Return the state of each item in `results.jsonl`."""
    lines = consumer.objects.get("cutouts", results_key(job_id)).data.splitlines()
    return [json.loads(line)["state"] for line in lines]


def has_images(consumer, job_id):
    return b"Before and after" in consumer.objects.get("cutouts", report_key(job_id)).data


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
def shown(consumers):
    """A consumer, and a job of three real images whose next ticket is the merge."""
    imaging = ImageOperations(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1)
    consumer = consumers(imaging=imaging)
    for n in range(3):
        consumer.objects.put("inbox", f"{n}.jpg", encoded(photo(40, 30), "JPEG"), content_type="-")
    job_id = submit(consumer.store, 3, rem_mode=MODEL)
    consumer.published += feed(consumer.store)
    consumer.serve()
    return consumer, job_id


def test_the_report_leaves_out_images_that_no_longer_exist(shown):
    """A job ends even if its input bucket was emptied or deleted in the meantime."""
    consumer, job_id = shown

    consumer.objects.missing.add("inbox")
    consumer.run()

    assert consumer.store.queries.status(job_id).finished_at is not None
    assert not has_images(consumer, job_id)


@pytest.mark.parametrize("document", ["results.jsonl", "report.html"])
def test_a_merge_without_a_lease_does_not_replace_documents_of_a_later_generation(
    consumers, document
):
    """A worker is stopped just before it writes; it resumes after a retry of the job is done."""
    zombie = consumers()
    other = consumers(store=zombie.objects)
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
            other.store.submissions.retry(job_id)
            other.published += feed(other.store)
            other.run()

    zombie.objects.before = meanwhile
    zombie.serve()

    assert states(zombie, job_id) == ["done"] * 4
    assert b"bad" not in zombie.objects.get("cutouts", report_key(job_id)).data
    assert other.store.queries.status(job_id).state is JobState.DONE
    assert zombie.placed("leased") == zombie.placed("parked") == 0


def test_a_merge_whose_write_was_not_answered_starts_again_and_ends(consumers):
    """The S3 client repeats the request and finds its own object already there."""
    consumer = consumers(store=StoreThatLosesAnAnswer())
    job_id = consumer.submit(4)
    consumer.serve()

    consumer.serve()
    assert consumer.objects.lost
    assert consumer.deaths(job_id) == [None]
    end_parking(consumer)
    consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    assert states(consumer, job_id) == ["done"] * 4


@pytest.mark.parametrize("at", ["shards/", "results.jsonl", "2.jpg"])
def test_a_draining_worker_releases_its_merge(shown, at):
    """A long merge would outlast the time to drain, and then count as a death."""
    consumer, job_id = shown

    def before(call, bucket, key):
        if at in key:
            consumer.drain()

    consumer.objects.before = before
    consumer.serve()

    assert consumer.placed("leased") == 0
    assert consumer.deaths(job_id) == [None]
    assert [issued.queue for issued in consumer.published] == [RECOVERY]
    assert consumer.store.queries.status(job_id).finished_at is None


def test_a_source_that_the_store_refuses_to_return_does_not_stop_the_merge(shown):
    """An archived object is always refused; the report leaves out its image."""
    consumer, job_id = shown

    def before(call, bucket, key):
        if (call, bucket, key) == ("get", "inbox", "1.jpg"):
            raise StoreUnavailable("InvalidObjectState")

    consumer.objects.before = before
    consumer.serve()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    page = consumer.objects.get("cutouts", report_key(job_id)).data
    assert b"<figcaption>0.jpg" in page
    assert b"<figcaption>1.jpg" not in page


@pytest.mark.parametrize(("deaths", "queue"), [(1, RECOVERY), (2, SUSPECT)])
def test_a_merge_whose_worker_died_twice_leaves_out_the_images(shown, deaths, queue):
    """Images are the only untrusted part of a merge; one that crashes it would do so forever."""
    consumer, job_id = shown
    for _ in range(deaths):
        grant(consumer.store, consumer.published.pop(0), "another")
        expire_leases(consumer)
    assert [issued.queue for issued in consumer.published] == [queue]

    consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    assert has_images(consumer, job_id) == (deaths < 2)
