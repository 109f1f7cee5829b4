"""Delete expired previews, once an hour."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from shared.job.keys import PREVIEWS
from shared.objects import ObjectStore

HOUSEKEEPING_S: Final = 3600.0
PREVIEWS_FOR_DAYS: Final = 1


@dataclass(frozen=True)
class Housekeeping:
    """Keeps the output bucket tidy."""

    objects: ObjectStore
    bucket: str
    every_s: float = HOUSEKEEPING_S
    """Seconds between two rounds."""

    def round(self) -> None:
        """Delete the previews of days that ended a whole day ago.

        Preview keys begin with the day of their job, so a listing in key order has the oldest first
        and ends at the first one that stays.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        first_day = datetime.now(UTC) - timedelta(days=PREVIEWS_FOR_DAYS)
        stays = f"{PREVIEWS}/{first_day:%Y-%m-%d}"
        previews = self.objects.list(self.bucket, f"{PREVIEWS}/")
        old = takewhile(lambda found: found.key < stays, previews)
        self.objects.delete(self.bucket, (found.key for found in old))
