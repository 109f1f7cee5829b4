"""Delete expired previews, once an hour."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.errors import BucketUnavailable, StoreUnavailable
from shared.job.keys import PREVIEWS
from shared.objects import ObjectStore

logger = logging.getLogger(__name__)

HOUSEKEEPING_S: Final = 3600.0
PREVIEWS_FOR_DAYS: Final = 1
DELETE_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Housekeeping:
    """Keeps the output bucket tidy."""

    objects: ObjectStore
    bucket: str
    every_s: float = HOUSEKEEPING_S
    """Seconds between two rounds."""

    def round(self) -> None:
        """Delete what has expired; an outage leaves it for the next round."""
        try:
            delete_old_previews(self.objects, self.bucket, datetime.now(UTC))
        except (BucketUnavailable, StoreUnavailable) as err:
            logger.warning("previews not deleted", extra={"cause": str(err)})


def delete_old_previews(objects: ObjectStore, bucket: str, now: datetime) -> int:
    """Delete the previews of days that ended a whole day ago; return how many there were.

    Preview keys begin with the day of their job, so a listing in key order has the oldest first
    and ends at the first one that stays.
    """
    stays = f"{PREVIEWS}/{(now - timedelta(days=PREVIEWS_FOR_DAYS)):%Y-%m-%d}"
    old: list[str] = []
    deleted = 0
    for found in objects.list(bucket, f"{PREVIEWS}/"):
        if found.key >= stays:
            break
        old.append(found.key)
        if len(old) == DELETE_AT_ONCE:
            objects.delete(bucket, old)
            deleted, old = deleted + len(old), []
    if old:
        objects.delete(bucket, old)
    return deleted + len(old)
