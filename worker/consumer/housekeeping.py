"""Delete what the output bucket need not keep, once an hour."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from shared.job.keys import PREVIEWS, asset_folder, results_key, shard_folder
from shared.job.notes import ENDED, MERGED
from shared.job.preview_keys import preview_folder
from shared.objects import ObjectStore, object_metadata
from shared.objects.protocol import ObjectInfo

HOUSEKEEPING_S: Final = 3600.0
PREVIEW_JOBS_FOR_DAYS: Final = 1
KEEP_PREVIEWS_DAYS: Final = 90
KEEP_SHARDS_DAYS: Final = 7


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Housekeeping:
    """Keeps the output bucket tidy: never deletes outputs, results or reports."""

    objects: ObjectStore
    bucket: str
    is_known: Callable[[str], bool]
    """Return whether Redis knows a job: it may run, or be started again."""
    keep_previews_days: int = KEEP_PREVIEWS_DAYS
    """Days from the end of a job until its before-and-after previews are deleted, and the copies
    of images that its recipes name."""
    every_s: float = HOUSEKEEPING_S
    """Seconds between two rounds."""
    now: Callable[[], datetime] = _now

    def round(self) -> None:
        """Delete the images of `Preview` jobs, merged shards, and what else old jobs left.

        Keys below the folders that are listed begin with a day, so a listing in key order has the
        oldest first and ends at the first one that stays.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
            RedisUnavailable: If Redis cannot be asked whether it knows a job.
        """
        now = self.now()
        self._delete_preview_jobs(now - timedelta(days=PREVIEW_JOBS_FOR_DAYS))
        self._delete_shards(now - timedelta(days=KEEP_SHARDS_DAYS))
        self._delete_additions(now - timedelta(days=self.keep_previews_days))

    def _delete_preview_jobs(self, limit: datetime) -> None:
        """Delete what was written under `PREVIEWS` before *limit*.

        The day in the keys is that of the submission. A job may have waited longer than a day
        before it was processed, so the time of the write counts, too.
        """
        old = self._before(limit, PREVIEWS)
        self._delete(found for found in old if found.modified_at < limit)

    def _delete_shards(self, limit: datetime) -> None:
        """Delete the shards of jobs whose results hold all records since before *limit*.

        The results say so themselves: a later merge may have written a list of shards in their
        place. A job that Redis knows may be merged again, from the same shards. A later job with
        the same ID writes shards that are newer than the results.
        """
        for note in self._before(limit, MERGED):
            job_id = note.key.rpartition("/")[2]
            results = self.objects.head(self.bucket, results_key(job_id))
            is_due = results is not None and results.modified_at < limit
            if results and is_due and object_metadata.MERGED in results.metadata:
                if self.is_known(job_id):
                    continue  # Redis is about to forget it
                shards = self.objects.list(self.bucket, shard_folder(job_id))
                self._delete(each for each in shards if each.modified_at <= results.modified_at)
            self._delete([note])

    def _delete_additions(self, limit: datetime) -> None:
        """Delete the previews and copied images of the jobs that ended before the day of *limit*.

        A merge leaves a note of each end, and so does a submission before it copies images. A job
        that ended again later has another note. A job that Redis knows may need its images again.
        """
        for note in self._before(limit, ENDED):
            job_id = note.key.rpartition("/")[2]
            results = self.objects.head(self.bucket, results_key(job_id))
            if results is None and self.is_known(job_id):
                continue  # it has not ended
            if results is None or results.modified_at < limit:
                self._delete(self.objects.list(self.bucket, preview_folder(job_id)))
                assets = list(self.objects.list(self.bucket, asset_folder(job_id)))
                if assets and self.is_known(job_id):
                    continue
                self._delete(assets)
            self._delete([note])

    def _before(self, limit: datetime, folder: str) -> Iterator[ObjectInfo]:
        """Yield the objects in *folder* whose keys have a day before that of *limit*."""
        stays = f"{folder}/{limit:%Y-%m-%d}"
        found = self.objects.list(self.bucket, f"{folder}/")
        return takewhile(lambda each: each.key < stays, found)

    def _delete(self, found: Iterable[ObjectInfo]) -> None:
        self.objects.delete(self.bucket, (each.key for each in found))
