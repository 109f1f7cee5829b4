"""Delete expired previews, once an hour."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from shared.job.keys import PREVIEWS
from shared.objects import ObjectStore

HOUSEKEEPING_S: Final = 3600.0
PREVIEWS_FOR_DAYS: Final = 1


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Housekeeping:
    """Keeps the output bucket tidy."""

    objects: ObjectStore
    bucket: str
    every_s: float = HOUSEKEEPING_S
    """Seconds between two rounds."""
    now: Callable[[], datetime] = _now

    def round(self) -> None:
        """Delete the previews that were written a day ago or earlier.

        Preview keys begin with the day of their job's submission, so a listing in key order has the
        oldest first and ends at the first one that stays. A job may have waited longer than a day
        before it was processed, so the time of the write counts, too.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        limit = self.now() - timedelta(days=PREVIEWS_FOR_DAYS)
        stays = f"{PREVIEWS}/{limit:%Y-%m-%d}"
        previews = self.objects.list(self.bucket, f"{PREVIEWS}/")
        old = takewhile(lambda found: found.key < stays, previews)
        self.objects.delete(self.bucket, (found.key for found in old if found.modified_at < limit))
