"""Images of `Preview` jobs are deleted after a day, and previews of jobs some time after these."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.memory_store import MemoryStore

from shared.errors import StoreUnavailable
from worker.consumer.housekeeping import Housekeeping


def previews_left(*, submitted_ago, looked_after):
    """Return the keys that a round leaves of one preview that is written now."""
    written_at = datetime.now(UTC)
    key = f"_preview/{written_at - submitted_ago:%Y-%m-%d}/job/easyPreview/cutout/a.png"
    store = MemoryStore()
    store.put("cutouts", key, b"1", content_type="image/png")
    store.put("cutouts", "_jobs/job/results.jsonl", b"1", content_type="text/plain")

    Housekeeping(store, "cutouts", now=lambda: written_at + looked_after).round()

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

    assert calls == [("list", "_preview/"), ("list", "_jobs/.ended/")]
