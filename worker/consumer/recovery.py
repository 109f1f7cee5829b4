"""What every worker does for the fleet besides its tickets, so that no extra process is needed."""

import logging
import time
from collections import Counter
from contextlib import suppress
from typing import Final

from celery import Celery

from shared.broker.app import depths, publish
from shared.broker.queues import INTERACTIVE
from shared.errors import RedisUnavailable
from shared.jobstore.store import JobStore
from worker.consumer.slots import Slots
from worker.consumer.throughput import Registration
from worker.consumer.ticket_consumer import TicketConsumer

logger = logging.getLogger(__name__)

REGISTER_S: Final = 3.0
REGISTERED_FOR_S: Final = 10.0
TURN: Final = 0.9
"""Share of the time between two rounds for which a turn is taken; a lone worker gets each one."""


class Recovery:
    """Feeds the queues, recovers the tickets of dead workers, and registers this worker."""

    def __init__(
        self,
        *,
        app: Celery,
        store: JobStore,
        consumer: TicketConsumer,
        registration: Registration,
        slots: Slots,
        every_s: float,
    ) -> None:
        self._app = app
        self._store = store
        self._consumer = consumer
        self._registration = registration
        self._slots = slots
        self.every_s = every_s
        """Seconds between two rounds."""
        self._registered_at_s = -REGISTER_S
        self.issued: Counter[str] = Counter()
        """Tickets that rounds of this worker have published, by queue, since the start."""

    def close(self) -> None:
        """Remove this worker from the registered ones."""
        try:
            self._store.fleet.unregister(self._registration.worker_id)
        except RedisUnavailable:
            logger.info("not unregistered; the entry expires")

    def report_fault(self, reason: str) -> None:
        """Register this worker as one that serves nothing because of *reason*."""
        with suppress(RedisUnavailable):  # the next report is due soon
            self._store.fleet.register(
                self._registration.info(fault=reason), ttl_s=REGISTERED_FOR_S
            )

    def round(self) -> None:
        """Do all that is due, for the fleet if it is this worker's turn.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        self._register()
        if self._store.fleet.take_turn(TURN * self.every_s):
            self._recover_fleet()
        is_full = self._consumer.running >= self._slots.total
        if is_full and depths(self._app)[INTERACTIVE]:
            self._consumer.make_room()

    def _recover_fleet(self) -> None:
        """Recover and issue lost tickets, and feed; many workers may do so at once."""
        empty = [name for name, count in depths(self._app).items() if not count]
        issued = self._store.fleet.recover(empty_queues=empty)
        publish(self._app, issued)
        self.issued.update(one.queue for one in issued)

    def _register(self) -> None:
        if time.monotonic() - self._registered_at_s >= REGISTER_S:
            self._store.fleet.register(self._registration.info(), ttl_s=REGISTERED_FOR_S)
            self._registered_at_s = time.monotonic()
