"""What every worker does beside its tickets, on a timer: no extra process keeps the fleet whole."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from celery import Celery

from shared.broker.app import depths, publish
from shared.broker.queues import INTERACTIVE
from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import WorkerInfo
from shared.objects import ObjectStore
from worker.consumer.housekeeping import delete_old_previews
from worker.consumer.ticket_consumer import Tickets

logger = logging.getLogger(__name__)

REGISTER_S: Final = 3.0
REGISTERED_FOR_S: Final = 10.0
HOUSEKEEPING_S: Final = 3600.0
TURN: Final = 0.9
"""Share of the time between two rounds for which a turn is taken; a lone worker gets each."""


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
        self.issued: Counter[str] = Counter()
        """Tickets that rounds of ours have published, by queue, since the start."""
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin; the first round is run at once.

        Housekeeping has a thread of its own: a listing that hangs for longer than this worker's
        registration lasts must not make it look dead, nor keep the queues from being fed.
        """
        for name, serve in (("recovery", self._serve), ("housekeeping", self._keep_house)):
            threading.Thread(target=serve, name=name, daemon=True).start()

    def close(self) -> None:
        """End the rounds, and take this worker off the list of those that serve."""
        self._closed.set()
        try:
            self._store.fleet.unregister(self._describe().worker_id)
        except RedisUnavailable:
            logger.info("not unregistered; the entry expires")

    def round(self) -> None:
        """Do all that is due, for the fleet if it is this worker's turn.

        Raises:
            RedisUnavailable: If Redis cannot be asked; the next round does it.
        """
        self._register()
        if self._store.fleet.take_turn(TURN * self._every_s):
            self._tend_fleet()
        is_full = self._tickets.running >= self._describe().slots
        if is_full and depths(self._app)[INTERACTIVE]:
            self._tickets.make_room()

    def _tend_fleet(self) -> None:
        """Bring back, issue again and feed; many workers may do so at once."""
        empty = [name for name, count in depths(self._app).items() if not count]
        issued = self._store.fleet.recover(empty_queues=empty)
        publish(self._app, issued)
        self.issued.update(one.queue for one in issued)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                self.round()
            except RedisUnavailable as err:
                logger.warning("recovery waits for Redis", extra={"cause": str(err)})
            except Exception:
                logger.exception("a round of recovery failed unforeseen")
            self._closed.wait(self._every_s)

    def _register(self) -> None:
        if time.monotonic() - self._registered_at_s >= REGISTER_S:
            self._store.fleet.register(self._describe(), ttl_s=REGISTERED_FOR_S)
            self._registered_at_s = time.monotonic()

    def _keep_house(self) -> None:
        while not self._closed.is_set():
            try:
                delete_old_previews(self._objects, self._output_bucket, datetime.now(UTC))
            except (BucketUnavailable, StoreUnavailable) as err:
                logger.warning("previews are left for later", extra={"cause": str(err)})
            except Exception:
                logger.exception("housekeeping failed unforeseen")
            self._closed.wait(HOUSEKEEPING_S)
