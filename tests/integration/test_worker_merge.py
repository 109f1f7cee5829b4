"""Merging a job's shards: which worker may write, when it stops, and what it can do without."""

import json
import os

import pytest
from support.engine_harness import MAX_BYTES, MAX_PIXELS
from support.jobs import FailingConnection, feed, grant, submission, submit
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.redelivery import end_parking, expire_leases
from support.report_page import data_in, rows_in

from shared.broker.queues import RECOVERY, SUSPECT
from shared.errors import BucketUnavailable, InvalidKey, StoreUnavailable
from shared.job import manifest
from shared.job.doubts import doubts_key, read
from shared.job.keys import report_key, results_key, shard_key
from shared.job.notes import ENDED, MERGED
from shared.job.spec import JobState, Previews
from shared.job.webhook import Webhook
from shared.objects import PreconditionFailed
from shared.webhooks import DeliveryState, Outbox
from worker.imaging.operations import ImageOperations

pytestmark = pytest.mark.integration

MODEL = "isnet-general-use"


def states(consumer, job_id):
    """Return the state of each item in `results.jsonl`."""
    lines = consumer.objects.get("cutouts", results_key(job_id)).data.splitlines()
    return [json.loads(line)["state"] for line in lines]


def images_shown(consumer, job_id):
    """Return the number of previews in the report."""
    return len(data_in(consumer.objects.get("cutouts", report_key(job_id)).data)["previews"])


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
def shown_job(consumers):
    """Make a job of real images, of which only the merge is left."""
    imaging = ImageOperations(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, children=1)
    consumer = consumers(imaging=imaging)

    def make(count, **details):
        for n in range(count):
            image = encoded(photo(40, 30), "JPEG")
            consumer.objects.put("inbox", f"{n}.jpg", image, content_type="-")
        job_id = submit(consumer.store, count, rem_mode=MODEL, **details)
        consumer.published += feed(consumer.store)
        while consumer.store.queries.status(job_id).state is JobState.RUNNING:
            consumer.serve()
        return consumer, job_id

    return make


@pytest.fixture
def shown(shown_job):
    """A consumer, and a job of three real images whose next ticket is the merge."""
    return shown_job(3)


def test_the_report_is_made_without_any_source_or_cutout(shown):
    """A job ends even if its input bucket was emptied or deleted in the meantime.

    No image is decoded in the process of the worker either, where a damaged one could end it.
    """
    consumer, job_id = shown
    asked = []
    consumer.objects.before = lambda call, bucket, key: asked.append((call, bucket, key))

    consumer.objects.missing.add("inbox")
    consumer.run()

    assert consumer.store.queries.status(job_id).finished_at is not None
    read = [key for call, _, key in asked if call == "get" and "shards" not in key]
    assert sorted(read) == [f"_jobs/{job_id}/previews/{n}.webp" for n in range(3)]
    assert not [key for _, bucket, key in asked if bucket == "inbox"]
    assert images_shown(consumer, job_id) == 3


@pytest.mark.parametrize(
    ("previews", "every"), [(Previews.ALL, 1), (Previews.SAMPLE, 2), (Previews.NONE, 0)]
)
def test_the_report_shows_the_previews_that_the_job_asked_for(shown_job, previews, every):
    consumer, job_id = shown_job(5, previews=previews, preview_every=2)

    found = [key for key in consumer.objects.keys("cutouts") if "/previews/" in key]
    consumer.run()

    # The stand-in finds no subject in any of them: doubtful ones are added to a sample.
    assert len(found) == images_shown(consumer, job_id) == (5 if every else 0)


def test_doubtful_images_are_listed_for_review(shown_job):
    consumer, job_id = shown_job(3)

    consumer.run()

    found = consumer.objects.get("cutouts", doubts_key(job_id))
    assert [each.index for each in read(found.data.splitlines())] == [0, 1, 2]
    assert consumer.objects.head("cutouts", doubts_key(job_id)).metadata == {"rmbg-generation": "1"}


def test_a_job_of_an_earlier_version_has_previews(shown_job):
    """Its document has no stride; it is computed from the number of items."""
    consumer, job_id = shown_job(3, preview_every=0)

    consumer.run()

    assert images_shown(consumer, job_id) == 3


@pytest.mark.parametrize("image_output", ["Hide", "Hide/Save"])
def test_a_hidden_job_has_no_previews(shown_job, image_output):
    consumer, job_id = shown_job(3, image_output=image_output)

    consumer.run()

    assert not [key for key in consumer.objects.keys("cutouts") if ".webp" in key]
    assert not [key for key in consumer.objects.keys("cutouts") if ".ended" in key]
    assert images_shown(consumer, job_id) == 0


def test_the_previews_of_a_preview_job_lie_beside_its_images(shown_job):
    consumer, job_id = shown_job(3, image_output="Preview", date="2026-11-23")
    found = [key for key in consumer.objects.keys("cutouts") if ".webp" in key]

    consumer.run()

    assert found == [f"_preview/2026-11-23/{job_id}/previews/{n}.webp" for n in range(3)]
    assert images_shown(consumer, job_id) == 3


@pytest.mark.parametrize("repeat", [1, 2])
def test_the_end_of_a_job_is_noted_for_housekeeping(consumer, repeat):
    """Also if the job ends twice on one day."""
    job_id = consumer.submit(3)
    consumer.objects.put("inbox", "1.jpg", b"bad", content_type="-")
    consumer.run()
    if repeat > 1:
        consumer.store.submissions.retry(job_id)
        consumer.published += feed(consumer.store)
        consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    for folder in (ENDED, MERGED):
        notes = [key for key in consumer.objects.keys("cutouts") if key.startswith(f"{folder}/")]
        assert [key.rpartition("/")[2] for key in notes] == [job_id] * len(notes)
        assert notes
    assert consumer.objects.head("cutouts", results_key(job_id)).metadata == {"rmbg-merged": "1"}


@pytest.mark.parametrize("document", ["results.jsonl", "review.jsonl", "report.html"])
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
    rows = rows_in(zombie.objects.get("cutouts", report_key(job_id)).data)
    assert [row["verdict"] for row in rows].count("failed") == 0
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


@pytest.mark.parametrize("at", ["shards/", "results.jsonl", "previews/2.webp"])
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


@pytest.mark.parametrize("fault", ["missing", "refused", "too large"])
def test_an_image_whose_preview_cannot_be_read_is_shown_with_its_verdict(shown, fault):
    consumer, job_id = shown
    lost = f"_jobs/{job_id}/previews/1.webp"
    if fault == "missing":
        consumer.objects.delete("cutouts", [lost])
    elif fault == "too large":
        consumer.objects.put("cutouts", lost, bytes(2**20), content_type="image/webp")

    def before(call, bucket, key):
        if (call, key) == ("get", lost) and fault == "refused":
            raise StoreUnavailable("InvalidObjectState")

    consumer.objects.before = before
    consumer.serve()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    page = consumer.objects.get("cutouts", report_key(job_id)).data
    assert (rows_in(page)[1]["key"], rows_in(page)[1]["verdict"]) == ("1.jpg", "review")
    assert images_shown(consumer, job_id) == 2


@pytest.mark.parametrize(("deaths", "queue"), [(1, RECOVERY), (2, SUSPECT)])
def test_a_merge_whose_worker_died_shows_the_previews(shown, deaths, queue):
    consumer, job_id = shown
    for _ in range(deaths):
        grant(consumer.store, consumer.published.pop(0), "another")
        expire_leases(consumer)
    assert [issued.queue for issued in consumer.published] == [queue]

    consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    assert images_shown(consumer, job_id) == 3


# --- a document that cannot be written


class StoreThatRefuses(MemoryStore):
    """A store whose `put` raises the first of *errors*, if any, for keys that end in *ending*."""

    def __init__(self, ending, errors):
        super().__init__()
        self.ending = ending
        self.errors = errors

    def put(self, bucket, key, data, **options):
        if key.endswith(self.ending):
            for error in self.errors:
                raise error
        return super().put(bucket, key, data, **options)


def test_a_key_that_is_not_valid_unicode_fails_alone_and_the_job_ends(consumer):
    """Neither results nor report can hold it as it is."""
    key = os.fsdecode(b"chemise-\xe9t\xe9.jpg")
    escaped = r"chemise-\udce9t\udce9.jpg"
    for name in ("0.jpg", "2.jpg"):
        consumer.objects.put("inbox", name, b"fine", content_type="image/jpeg")
    wanted = submission(3, rem_mode=MODEL)
    keys = ["0.jpg", key, "2.jpg"]
    consumer.store.submissions.stage(wanted.manifest, 0, [manifest.pack(keys)])
    job_id = consumer.store.submissions.submit(wanted).job_id
    consumer.published += feed(consumer.store)

    consumer.run()

    status = consumer.store.queries.status(job_id)
    assert (status.state, status.ended_without) == (JobState.DONE, None)
    assert status.error_classes == {"InvalidKey": 1}
    lines = consumer.objects.get("cutouts", results_key(job_id)).data.splitlines()
    assert [json.loads(line)["image_key"] for line in lines] == ["0.jpg", escaped, "2.jpg"]
    rows = rows_in(consumer.objects.get("cutouts", report_key(job_id)).data)
    assert sorted(row["key"] for row in rows) == ["0.jpg", "2.jpg", escaped]


def merge_until_ended(consumer, job_id, *, most=10):
    """Process the merge ticket until the job has ended; return how often that took."""
    for n in range(1, most + 1):
        consumer.serve()
        if consumer.store.queries.status(job_id).finished_at is not None:
            return n
        end_parking(consumer)
    raise AssertionError(f"the job did not end after {most} merges")


def test_a_job_whose_report_always_fails_ends_without_it_at_the_third_failure(consumers):
    consumer = consumers(store=StoreThatRefuses("report.html", [UnicodeError("injected")]))
    job_id = consumer.submit(4)
    consumer.serve()

    assert merge_until_ended(consumer, job_id) == 3

    status = consumer.store.queries.status(job_id)
    assert status.state is JobState.DONE
    assert status.ended_without == "report.html (failed 3 times: UnicodeError)"
    assert states(consumer, job_id) == ["done"] * 4
    assert consumer.objects.head("cutouts", report_key(job_id)) is None


def test_a_cancelled_job_whose_report_always_fails_ends(consumers):
    consumer = consumers(store=StoreThatRefuses("report.html", [UnicodeError("injected")]))
    job_id = consumer.submit(40)
    consumer.serve()

    consumer.store.submissions.cancel(job_id)
    consumer.published[:] = []
    end_parking(consumer)

    assert merge_until_ended(consumer, job_id) == 3
    assert consumer.store.queries.status(job_id).state is JobState.CANCELLED


def test_a_job_whose_records_cannot_be_joined_ends_with_the_index_of_its_shards(consumer):
    job_id = consumer.submit(4)
    consumer.serve()
    [shard] = consumer.store.queries.accepted_shards(job_id)
    key = shard_key(job_id, *shard)
    whole = consumer.objects.get("cutouts", key).data
    consumer.objects.put("cutouts", key, b"{not json\n" + whole, content_type="-")

    assert merge_until_ended(consumer, job_id) == 3

    status = consumer.store.queries.status(job_id)
    assert status.ended_without == "results.jsonl (failed 3 times: JSONDecodeError)"
    # Housekeeping would delete the only records.
    assert not [name for name in consumer.objects.keys("cutouts") if name.startswith(MERGED)]
    assert consumer.objects.head("cutouts", results_key(job_id)).metadata == {}
    index = json.loads(consumer.objects.get("cutouts", results_key(job_id)).data)
    assert index == {"shard": key, "items": "0-4"}
    assert consumer.objects.head("cutouts", report_key(job_id)) is not None


def test_a_record_that_the_report_cannot_read_does_not_cost_the_results(consumer):
    """A later version may write records that this one refuses; the results only join lines."""
    job_id = consumer.submit(4)
    consumer.serve()
    [shard] = consumer.store.queries.accepted_shards(job_id)
    key = shard_key(job_id, *shard)
    later = consumer.objects.get("cutouts", key).data.replace(b'"done"', b'"skipped"')
    consumer.objects.put("cutouts", key, later, content_type="-")

    assert merge_until_ended(consumer, job_id) == 3

    without = consumer.store.queries.status(job_id).ended_without
    assert without == "report.html (failed 3 times: ValidationError)"
    assert states(consumer, job_id) == ["skipped"] * 4


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("injected"), BucketUnavailable("injected"), PreconditionFailed("injected")],
)
def test_outages_never_end_a_job_without_a_document(consumers, error):
    store = StoreThatRefuses("report.html", [error])
    consumer = consumers(store=store)
    job_id = consumer.submit(4)
    consumer.serve()
    for _ in range(5):
        consumer.serve()
        end_parking(consumer)
    assert consumer.store.queries.status(job_id).finished_at is None

    store.errors = []
    consumer.serve()

    status = consumer.store.queries.status(job_id)
    assert (status.state, status.ended_without) == (JobState.DONE, None)


def test_different_errors_are_counted_apart(consumers):
    """Failures that differ may pass by themselves; three of one class do not."""
    store = StoreThatRefuses("report.html", [])
    consumer = consumers(store=store)
    job_id = consumer.submit(4)
    consumer.serve()
    for error in (ValueError(), TypeError(), ValueError(), TypeError()):
        store.errors = [error]
        consumer.serve()
        assert consumer.store.queries.status(job_id).finished_at is None
        end_parking(consumer)

    store.errors = [ValueError()]
    consumer.serve()

    without = consumer.store.queries.status(job_id).ended_without
    assert without == "report.html (failed 3 times: ValueError)"


def test_a_retry_writes_the_report_that_was_missing(consumers):
    store = StoreThatRefuses("report.html", [UnicodeError("injected")])
    consumer = consumers(store=store)
    job_id = consumer.submit(4)
    store.put("inbox", "1.jpg", b"bad", content_type="image/jpeg")
    consumer.serve()
    merge_until_ended(consumer, job_id)

    store.errors = []
    consumer.store.submissions.retry(job_id)
    assert consumer.store.queries.status(job_id).ended_without is None
    consumer.published += feed(consumer.store)
    consumer.run()

    assert consumer.store.queries.status(job_id).ended_without is None
    assert store.head("cutouts", report_key(job_id)) is not None


@pytest.mark.parametrize(
    ("deaths", "without"),
    [
        (3, None),
        (4, "report.html (4 workers died during the merge)"),
        (
            6,
            ", ".join(
                f"{name} (6 workers died during the merge)"
                for name in ("results.jsonl", "report.html")
            ),
        ),
    ],
)
def test_a_merge_that_kills_its_workers_ends_with_fewer_documents(consumer, deaths, without):
    job_id = consumer.submit(4)
    consumer.serve()
    for _ in range(deaths):
        grant(consumer.store, consumer.published.pop(0), "another")
        expire_leases(consumer)

    consumer.run()

    assert consumer.store.queries.status(job_id).ended_without == without
    assert consumer.objects.head("cutouts", results_key(job_id)) is not None


def test_a_job_ends_although_neither_its_results_nor_the_index_can_be_written(consumers):
    consumer = consumers(store=StoreThatRefuses("results.jsonl", [InvalidKey("injected")]))
    job_id = consumer.submit(4)
    consumer.serve()

    merge_until_ended(consumer, job_id)

    status = consumer.store.queries.status(job_id)
    assert status.state is JobState.DONE
    assert status.ended_without == (
        "results.jsonl (failed 3 times: InvalidKey), index of shards (failed 3 times: InvalidKey)"
    )
    assert consumer.objects.head("cutouts", report_key(job_id)) is not None
    assert len(consumer.store.queries.accepted_shards(job_id)) == 1


def test_outdated_results_do_not_pass_for_those_that_cannot_be_written(consumers):
    """Without them, the accepted shards are read; they would hide the retried items."""
    store = StoreThatRefuses("results.jsonl", [])
    consumer = consumers(store=store)
    job_id = consumer.submit(4)
    store.put("inbox", "1.jpg", b"bad", content_type="image/jpeg")
    consumer.serve()
    merge_until_ended(consumer, job_id)
    assert "failed" in states(consumer, job_id)

    store.errors = [InvalidKey("injected")]
    store.put("inbox", "1.jpg", b"fine", content_type="image/jpeg")
    consumer.store.submissions.retry(job_id)
    consumer.published += feed(consumer.store)
    consumer.serve()
    merge_until_ended(consumer, job_id)

    assert store.head("cutouts", results_key(job_id)) is None


def test_a_heartbeat_while_the_merge_is_committed_is_no_loss(consumers):
    """The job store drops the lease before its answer arrives."""

    class BeatsBeforeTheAnswer(FailingConnection):
        def run(self, name, *rows, **args):
            answer = super().run(name, *rows, **args)
            if name == "merge_commit":
                consumer.leases.beat()
            return answer

    consumer = consumers(connection=BeatsBeforeTheAnswer)
    job_id = consumer.submit(4)

    consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.DONE
    assert consumer.leases.lost == 0


@pytest.mark.parametrize("repeat", [1, 2])
def test_what_a_webhook_is_told_is_written_before_the_end_is_committed(consumer, repeat):
    """Also if the commit fails and the merge is repeated, it is one event."""
    job_id = consumer.submit(3, webhook=Webhook(url="https://shop.example/"))
    consumer.connection.failing = ["merge_commit"] * (repeat - 1)
    seen = []
    consumer.objects.before = lambda call, _, key: seen.append(
        (call, key, consumer.store.queries.status(job_id).state)
    )
    consumer.run()
    if repeat > 1:
        end_parking(consumer)
        consumer.run()

    outbox = Outbox(consumer.objects, "cutouts")
    [stored] = outbox.of_job(job_id)
    assert (stored.delivery.event, stored.delivery.state) == ("job.done", DeliveryState.PENDING)
    assert len(list(outbox.notes(DeliveryState.PENDING))) == 1
    writes = [state for call, key, state in seen if call == "put" and "webhooks" in key]
    assert set(writes) == {JobState.FINISHING}
    assert consumer.store.queries.status(job_id).state is JobState.DONE


def test_a_cancelled_job_tells_its_webhook_that_it_is_cancelled(consumer):
    job_id = consumer.submit(3, webhook=Webhook(url="https://shop.example/"))
    consumer.store.submissions.cancel(job_id)
    consumer.published += feed(consumer.store)
    consumer.run()

    assert consumer.store.queries.status(job_id).state is JobState.CANCELLED
    [stored] = Outbox(consumer.objects, "cutouts").of_job(job_id)
    assert stored.delivery.event == "job.cancelled"
