"""Previews are deleted a day after they were written."""

from datetime import UTC, datetime, timedelta

from support.memory_store import MemoryStore

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
