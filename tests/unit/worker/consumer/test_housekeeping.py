"""What is deleted from the output bucket, and when; outputs, results and reports never are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.memory_store import MemoryStore

from shared.errors import StoreUnavailable
from shared.job.keys import asset_key, results_key, shard_key
from shared.job.notes import ended_key, merged_key
from shared.objects.object_metadata import MERGED
from worker.consumer.housekeeping import Housekeeping


def unknown(_job_id):
    """Redis has forgotten every job."""
    return False


def previews_left(*, submitted_ago, looked_after):
    """Return the keys that a round leaves of one preview that is written now."""
    written_at = datetime.now(UTC)
    key = f"_preview/{written_at - submitted_ago:%Y-%m-%d}/job/easyPreview/cutout/a.png"
    store = MemoryStore()
    store.put("cutouts", key, b"1", content_type="image/png")
    store.put("cutouts", "_jobs/job/results.jsonl", b"1", content_type="text/plain")

    Housekeeping(store, "cutouts", unknown, now=lambda: written_at + looked_after).round()

    assert "_jobs/job/results.jsonl" in store.keys("cutouts")
    return [key for key in store.keys("cutouts") if key.startswith("_preview/")]


def test_a_preview_of_the_last_day_stays():
    assert previews_left(submitted_ago=timedelta(0), looked_after=timedelta(hours=23))


def test_an_older_preview_is_deleted():
    assert not previews_left(submitted_ago=timedelta(0), looked_after=timedelta(days=2))


def test_a_preview_that_was_just_written_for_an_old_job_stays():
    """A job may wait for days before a worker serves its model."""
    assert previews_left(submitted_ago=timedelta(days=5), looked_after=timedelta(hours=1))


# --- before-and-after previews of jobs


ENDED_AT = datetime(2026, 8, 1, 12, tzinfo=UTC)


class DatedStore(MemoryStore):
    """A store whose objects were written at `ENDED_AT`, or when `dates` says."""

    def __init__(self):
        super().__init__()
        self.dates = {}

    def head(self, bucket, key):
        found = super().head(bucket, key)
        return found and replace(found, modified_at=self.dates.get(key, ENDED_AT))

    def list(self, bucket, prefix, *, start_after=""):
        for found in super().list(bucket, prefix, start_after=start_after):
            yield replace(found, modified_at=self.dates.get(found.key, ENDED_AT))


def ended(*job_ids, day="2026-08-01", dates=None):
    """Return a store in which jobs of three items ended on *day*."""
    store = DatedStore()
    store.dates = dates or {}
    for job_id in job_ids:
        names = ("results.jsonl", "report.html", *(f"previews/{n}.webp" for n in range(3)))
        for key in (*(f"_jobs/{job_id}/{name}" for name in names), f"_jobs/.ended/{day}/{job_id}"):
            store.put("cutouts", key, b"1", content_type="-")
    return store


def tidy(store, days, **options):
    now = ENDED_AT + timedelta(days=days)
    options = {"is_known": unknown} | options
    Housekeeping(store, "cutouts", now=lambda: now, **options).round()


def previews(store):
    return [key for key in store.keys("cutouts") if "/previews/" in key]


def test_previews_of_a_job_are_kept_for_90_days_after_its_end():
    store = ended("a", "b")

    tidy(store, 90)

    assert len(previews(store)) == 6


def test_previews_are_deleted_after_90_days_and_the_documents_stay():
    store = ended("a", "b")

    tidy(store, 91)

    assert store.keys("cutouts") == [
        f"_jobs/{job_id}/{name}" for job_id in "ab" for name in ("report.html", "results.jsonl")
    ]


def test_the_days_are_a_setting():
    store = ended("a")

    tidy(store, 3, keep_previews_days=2)

    assert previews(store) == []


def test_previews_of_a_job_that_ended_again_are_kept_until_its_last_end_is_old():
    again = ENDED_AT + timedelta(days=5)
    store = ended("a", dates={"_jobs/a/results.jsonl": again})
    store.put("cutouts", f"_jobs/.ended/{again:%Y-%m-%d}/a", b"", content_type="-")

    tidy(store, 92)
    assert len(previews(store)) == 3

    tidy(store, 96)
    assert previews(store) == []
    assert not [key for key in store.keys("cutouts") if ".ended" in key]


def test_previews_of_a_job_without_results_are_deleted_too():
    store = ended("a")
    store.delete("cutouts", ["_jobs/a/results.jsonl"])

    tidy(store, 91)

    assert previews(store) == []


def test_a_round_that_fails_is_continued_by_the_next():
    store = ended("a", "b")

    def before(call, bucket, key):
        if (call, key) == ("delete", "_jobs/a/previews/1.webp"):
            raise StoreUnavailable("injected")

    store.before = before
    with pytest.raises(StoreUnavailable):
        tidy(store, 91)
    store.before = lambda *_: None
    tidy(store, 91)

    assert previews(store) == []


def test_a_round_looks_only_at_jobs_that_are_due():
    """A bucket has jobs of years, and every worker tidies it every hour."""
    store = ended("a", day="2026-08-20")
    calls = []
    store.before = lambda call, _bucket, key: calls.append((call, key))

    tidy(store, 91)

    assert calls == [("list", "_preview/"), ("list", "_jobs/.merged/"), ("list", "_jobs/.ended/")]


# --- shards of merged jobs


def merged(*, is_index=False, results_at=ENDED_AT, shards_at=ENDED_AT):
    """Return a store with a job that was merged at `ENDED_AT`; its documents have these dates."""
    store = DatedStore()
    shards = [shard_key("a", unit, 1) for unit in ("0-2", "2-4")]
    metadata = {} if is_index else {MERGED: "1"}
    store.put("cutouts", results_key("a"), b"1", content_type="-", metadata=metadata)
    for key in (*shards, "_jobs/a/report.html", merged_key("a", ENDED_AT.date())):
        store.put("cutouts", key, b"1", content_type="-")
    store.dates = {results_key("a"): results_at} | dict.fromkeys(shards, shards_at)
    return store


def shards(store):
    return [key for key in store.keys("cutouts") if "/shards/" in key]


def notes(store):
    return [key for key in store.keys("cutouts") if key.startswith("_jobs/.")]


def test_shards_are_kept_for_7_days_after_the_merge():
    store = merged()

    tidy(store, 7)

    assert len(shards(store)) == 2


def test_shards_are_deleted_after_7_days_and_the_results_stay():
    store = merged()

    tidy(store, 8)

    assert store.keys("cutouts") == ["_jobs/a/report.html", "_jobs/a/results.jsonl"]


def test_shards_that_an_index_names_are_kept():
    """They hold the records; a merge before may have noted that the results did."""
    store = merged(is_index=True)

    tidy(store, 8)

    assert (len(shards(store)), notes(store)) == (2, [])


def test_shards_of_a_job_without_results_are_kept():
    store = merged()
    store.delete("cutouts", [results_key("a")])

    tidy(store, 8)

    assert len(shards(store)) == 2


def test_shards_of_a_job_that_was_merged_again_wait_for_the_last_merge():
    again = ENDED_AT + timedelta(days=5)
    store = merged(results_at=again)
    store.put("cutouts", merged_key("a", again.date()), b"", content_type="-")

    tidy(store, 8)
    assert (len(shards(store)), len(notes(store))) == (2, 1)

    tidy(store, 13)
    assert (shards(store), notes(store)) == ([], [])


def test_shards_of_a_job_that_redis_knows_are_kept_until_it_is_forgotten():
    """A retry of the last minute is merged from all of them."""
    store = merged()

    tidy(store, 8, is_known=lambda job_id: job_id == "a")
    assert len(shards(store)) == 2

    tidy(store, 8)
    assert shards(store) == []


def test_shards_that_are_newer_than_the_results_are_kept():
    """A later job with the same ID writes them."""
    store = merged(shards_at=ENDED_AT + timedelta(days=7))

    tidy(store, 8)

    assert len(shards(store)) == 2


# --- images that recipes name


ASSET = asset_key("a", "0" * 64)


def with_asset(*job_ids):
    """Return a store with ended jobs; the recipes of job `a` name an image."""
    store = ended(*job_ids)
    store.put("cutouts", ASSET, b"1", content_type="-")
    return store


def test_images_of_recipes_are_deleted_with_the_previews():
    store = with_asset("a")

    tidy(store, 90)
    assert ASSET in store.keys("cutouts")

    tidy(store, 91)
    assert store.keys("cutouts") == ["_jobs/a/report.html", "_jobs/a/results.jsonl"]


def test_images_stay_while_redis_knows_the_job():
    """A retry needs them, however short previews are kept."""
    store = with_asset("a", "b")

    tidy(store, 3, keep_previews_days=2, is_known=lambda _: True)
    assert ASSET in store.keys("cutouts")
    assert (previews(store), notes(store)) == ([], ["_jobs/.ended/2026-08-01/a"])

    tidy(store, 3, keep_previews_days=2)
    assert ASSET not in store.keys("cutouts")


def test_what_a_job_has_that_did_not_end_yet_stays():
    """A submission leaves a note, too; the job may wait for long."""
    store = with_asset("a")
    store.delete("cutouts", [results_key("a")])

    tidy(store, 91, is_known=lambda _: True)
    assert ASSET in store.keys("cutouts")
    assert (len(previews(store)), len(notes(store))) == (3, 1)

    tidy(store, 91)
    assert store.keys("cutouts") == ["_jobs/a/report.html"]


def test_images_of_a_submission_that_created_no_job_are_deleted():
    store = DatedStore()
    for key in (ASSET, ended_key("a", ENDED_AT.date())):
        store.put("cutouts", key, b"1", content_type="-")

    tidy(store, 91)

    assert store.keys("cutouts") == []
