"""Delete what the output bucket need not keep, once an hour."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from shared.job.keys import PREVIEWS, results_key
from shared.job.preview_keys import ENDED, preview_folder
from shared.objects import ObjectStore
from shared.objects.protocol import ObjectInfo

HOUSEKEEPING_S: Final = 3600.0
PREVIEW_JOBS_FOR_DAYS: Final = 1
KEEP_PREVIEWS_DAYS: Final = 90


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Housekeeping:
    """Keeps the output bucket tidy."""

    objects: ObjectStore
    bucket: str
    keep_previews_days: int = KEEP_PREVIEWS_DAYS
    """Days from the end of a job until its before-and-after previews are deleted."""
    every_s: float = HOUSEKEEPING_S
    """Seconds between two rounds."""
    now: Callable[[], datetime] = _now

    def round(self) -> None:
        """Delete the images of `Preview` jobs after a day, and the previews of old jobs.

        Keys below both folders begin with a day, so a listing in key order has the oldest first
        and ends at the first one that stays.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        self._delete_preview_jobs(self.now() - timedelta(days=PREVIEW_JOBS_FOR_DAYS))
        self._delete_previews(self.now() - timedelta(days=self.keep_previews_days))

    def _delete_preview_jobs(self, limit: datetime) -> None:
        """Delete what was written under `PREVIEWS` before *limit*.

        The day in the keys is that of the submission. A job may have waited longer than a day
        before it was processed, so the time of the write counts, too.
        """
        old = self._before(limit, PREVIEWS)
        self._delete(found for found in old if found.modified_at < limit)

    def _delete_previews(self, limit: datetime) -> None:
        """Delete the previews of the jobs that ended before the day of *limit*.

        A merge leaves a note of each end. A job that ended again later has another note.
        """
        for note in self._before(limit, ENDED):
            job_id = note.key.rpartition("/")[2]
            results = self.objects.head(self.bucket, results_key(job_id))
            if results is None or results.modified_at < limit:
                self._delete(self.objects.list(self.bucket, preview_folder(job_id)))
            self._delete([note])

    def _before(self, limit: datetime, folder: str) -> Iterator[ObjectInfo]:
        """Yield the objects in *folder* whose keys have a day before that of *limit*."""
        stays = f"{folder}/{limit:%Y-%m-%d}"
        found = self.objects.list(self.bucket, f"{folder}/")
        return takewhile(lambda each: each.key < stays, found)

    def _delete(self, found: Iterable[ObjectInfo]) -> None:
        self.objects.delete(self.bucket, (each.key for each in found))
