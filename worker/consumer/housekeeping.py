"""Delete expired previews."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from shared.job.keys import PREVIEWS
from shared.objects import ObjectStore

PREVIEWS_FOR_DAYS: Final = 1


DELETE_AT_ONCE: Final = 1000


def delete_old_previews(objects: ObjectStore, bucket: str, now: datetime) -> int:
    """Delete the previews of days that are over for a whole day; return how many there were.

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
