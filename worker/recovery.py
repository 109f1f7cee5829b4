"""What every worker does beside its tickets, on a timer: no extra process keeps the fleet whole."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from celery import Celery

from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import WorkerInfo
from shared.keys import PREVIEWS
from shared.objects import ObjectStore
from shared.queue import INTERACTIVE, depths, publish
from worker.tickets import Tickets

logger = logging.getLogger(__name__)

REGISTER_S: Final = 3.0
REGISTERED_FOR_S: Final = 10.0
HOUSEKEEPING_S: Final = 3600.0
PREVIEWS_FOR_DAYS: Final = 1
DELETE_AT_ONCE: Final = 1000


class Recovery:
    """Feeds queues, brings back what dead workers held, and says that this one is here."""

    def __init__(
        self,
        *,
        app: Celery,
        store: JobStore,
        objects: ObjectStore,
        output_bucket: str,
        tickets: Tickets,
        describe: Callable[[], WorkerInfo],
        every_s: float,
    ) -> None:
        self._app = app
        self._store = store
        self._objects = objects
        self._output_bucket = output_bucket
        self._tickets = tickets
        self._describe = describe
        self._every_s = every_s
        self._registered_at_s = -REGISTER_S
        self._kept_house_at_s = -HOUSEKEEPING_S
        self.issued: Counter[str] = Counter()
        """Tickets that rounds of ours have published, by queue, since the start."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="recovery", daemon=True)

    def start(self) -> None:
        """Begin; the first round is run at once."""
        self._thread.start()

    def close(self) -> None:
        """End the rounds, and take this worker off the list of those that serve."""
        self._closed.set()
        try:
            self._store.unregister(self._describe().worker_id)
        except RedisUnavailable:
            logger.info("not unregistered; the entry expires")

    def round(self) -> None:
        """Do all that is due. Every part may be done by many workers at once.

        Raises:
            RedisUnavailable: If Redis cannot be asked; the next round does it.
        """
        self._register()
        waiting = depths(self._app)
        empty = [name for name, count in waiting.items() if not count]
        issued = self._store.recover(empty_queues=empty)
        publish(self._app, issued)
        self.issued.update(one.queue for one in issued)
        info = self._describe()
        if waiting[INTERACTIVE] and self._tickets.running >= info.slots:
            self._tickets.make_room()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                self.round()
                self._keep_house()
            except RedisUnavailable as err:
                logger.warning("recovery waits for Redis", extra={"cause": str(err)})
            except Exception:
                logger.exception("a round of recovery failed unforeseen")
            self._closed.wait(self._every_s)

    def _register(self) -> None:
        if time.monotonic() - self._registered_at_s >= REGISTER_S:
            self._store.register(self._describe(), ttl_s=REGISTERED_FOR_S)
            self._registered_at_s = time.monotonic()

    def _keep_house(self) -> None:
        if time.monotonic() - self._kept_house_at_s < HOUSEKEEPING_S:
            return
        self._kept_house_at_s = time.monotonic()
        try:
            delete_old_previews(self._objects, self._output_bucket, datetime.now(UTC))
        except (BucketUnavailable, StoreUnavailable) as err:
            logger.warning("previews are left for later", extra={"cause": str(err)})


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
