"""Find the deliveries that are due, and attempt each of them."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
from starlette.concurrency import run_in_threadpool

from producer.gateway.webhooks.schedule import (
    MAX_ATTEMPTS,
    Failed,
    Gone,
    Outcome,
    begun,
    ended,
    is_due,
)
from producer.gateway.webhooks.sender import Sender
from shared import incident
from shared.errors import RmbgError
from shared.job.spec import TERMINAL_STATES
from shared.jobstore.store import JobStore
from shared.webhooks import Delivery, DeliveryState, Outbox, Stored
from shared.webhooks.outbox import Note

logger = logging.getLogger(__name__)

SCAN_S: Final = 5.0
"""Time between two listings of the pending deliveries, in seconds."""
MOST: Final = 32
"""Attempts at once."""
MOST_OF_TENANT: Final = 8
"""Attempts at once for one tenant, so that slow receivers of one do not hold up all others."""
_JOBS_AT_ONCE: Final = 200
"""Jobs whose status one script reads, which blocks Redis."""
_CUT_OFF: Final = Failed("the gateway ended during the last attempt")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Known:
    """A pending delivery that was read before."""

    note: Note
    delivery: Delivery


class Notifier:
    """Delivers pending events; any number of gateways do it side by side.

    The bucket alone says what is to be delivered, so nothing is missed after a restart or a loss
    of Redis. Each round begins with *collect*, which writes what only gateways can write. Used from
    the event loop only.
    """

    def __init__(
        self,
        outbox: Outbox,
        jobs: JobStore,
        sender: Sender,
        *,
        collect: Callable[[datetime], None] = lambda _now: None,
        clock: Callable[[], datetime] = _now,
        rng: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._sender = sender
        self._collect = collect
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - only spreads load
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._of_tenant: Counter[str] = Counter()

    async def run(self) -> None:
        """Deliver for ever; cancel it to stop.

        An attempt that is cut off is repeated by the next gateway.
        """
        try:
            while True:
                try:
                    await self.round()
                except RmbgError as err:
                    logger.warning("webhooks wait for a service", extra={"cause": str(err)})
                except Exception as err:  # noqa: BLE001 - the notifier must not end
                    logger.error("webhooks failed", extra={"cause": incident.record(err)})  # noqa: TRY400
                await asyncio.sleep(SCAN_S)
        finally:
            for task in self._running.values():
                task.cancel()

    async def round(self) -> None:
        """Look for deliveries that are due, and begin attempts.

        Raises:
            RmbgError: If the bucket or Redis cannot be asked.
        """
        await run_in_threadpool(self._collect, self._clock())
        notes = await run_in_threadpool(self._notes)
        self._known = {name: each for name, each in self._known.items() if name in notes}
        unknown = [note for name, note in notes.items() if self._is_unknown(name, note)]
        for note, delivery in await run_in_threadpool(self._read, unknown):
            self._known[note.webhook_id] = _Known(note, delivery)
        due = self._due()
        first = {each.job_id for each in due if not each.attempts}
        open_ = await run_in_threadpool(self._not_ended, list(first))
        for delivery in due:
            is_open = (delivery.job_id, delivery.generation) in open_
            if not is_open and self._may_begin(delivery):
                self._begin(delivery)

    async def finish(self) -> None:
        """Wait until the attempts that have begun are over."""
        await asyncio.gather(*self._running.values())

    def _begin(self, delivery: Delivery) -> None:
        self._of_tenant[delivery.tenant] += 1
        self._running[delivery.webhook_id] = asyncio.create_task(self._attempt(delivery))

    async def _attempt(self, known: Delivery) -> None:
        try:
            await self._deliver(known)
        except RmbgError as err:
            logger.warning(
                "webhook waits for a service", extra={**_named(known), "cause": str(err)}
            )
        except Exception as err:  # noqa: BLE001 - other deliveries go on
            cause = incident.record(err)
            logger.error("webhook failed", extra={**_named(known), "cause": cause})  # noqa: TRY400
        finally:
            self._of_tenant[known.tenant] -= 1
            del self._running[known.webhook_id]
            self._known.pop(known.webhook_id, None)  # read again with the next listing

    async def _deliver(self, known: Delivery) -> None:
        """Attempt a delivery, unless another gateway is faster."""
        found = await run_in_threadpool(self._outbox.find, known.job_id, known.webhook_id)
        now = self._clock()
        if found is None or not is_due(found.delivery, now):
            return
        if found.delivery.attempts >= MAX_ATTEMPTS:
            claimed = found
            outcome: Outcome = _CUT_OFF
        else:
            taken = begun(found.delivery, now)
            mine = await run_in_threadpool(self._outbox.replace, found, taken)
            if mine is None:
                return
            claimed, outcome = mine, await self._sender.send(taken, now)
        after = ended(claimed.delivery, outcome, self._clock(), self._rng)
        _log(after, outcome)
        await run_in_threadpool(self._store, claimed, after)

    def _store(self, claimed: Stored, after: Delivery) -> None:
        is_mine = self._outbox.replace(claimed, after) is not None
        if is_mine and after.state is not DeliveryState.PENDING:
            self._outbox.end(after)

    def _notes(self) -> dict[str, Note]:
        return {each.webhook_id: each for each in self._outbox.notes(DeliveryState.PENDING)}

    def _is_unknown(self, name: str, note: Note) -> bool:
        known = self._known.get(name)
        return name not in self._running and (known is None or known.note != note)

    def _read(self, notes: Sequence[Note]) -> list[tuple[Note, Delivery]]:
        """Return the deliveries of *notes* that are pending, and correct the notes of others."""
        found = []
        for note in notes:
            stored = self._outbox.find(note.job_id, note.webhook_id)
            if stored is None:
                self._outbox.forget(note)
            elif stored.delivery.state is not DeliveryState.PENDING:
                self._outbox.end(stored.delivery)
            else:
                found.append((note, stored.delivery))
        return found

    def _due(self) -> list[Delivery]:
        """Return the deliveries to attempt, those that wait for longest first."""
        now = self._clock()
        idle = (each.delivery for name, each in self._known.items() if name not in self._running)
        due = (each for each in idle if is_due(each, now))
        return sorted(due, key=lambda each: each.next_at)

    def _may_begin(self, delivery: Delivery) -> bool:
        is_free = len(self._running) < MOST
        return is_free and self._of_tenant[delivery.tenant] < MOST_OF_TENANT

    def _not_ended(self, job_ids: Sequence[str]) -> set[tuple[str, int]]:
        """Return the jobs, with their generation, whose end is written but not committed yet.

        A receiver that asks for the job must find that it has ended. Redis may have lost a job.
        """
        return {
            (each.job_id, each.generation)
            for first in range(0, len(job_ids), _JOBS_AT_ONCE)
            for each in self._jobs.queries.statuses(job_ids[first : first + _JOBS_AT_ONCE])
            if each.state not in TERMINAL_STATES
        }


def _log(delivery: Delivery, outcome: Outcome) -> None:
    """Log an attempt; the address of a receiver may be a secret but for its host."""
    extra = {**_named(delivery), "attempts": delivery.attempts, "cause": delivery.error}
    match outcome:
        case Failed() if delivery.state is DeliveryState.PENDING:
            logger.warning("webhook not delivered", extra=extra)
        case Failed() | Gone():
            logger.error("webhook given up", extra=extra)
        case _:
            logger.info("webhook delivered", extra=extra)


def _named(delivery: Delivery) -> dict[str, str]:
    host = httpx.URL(delivery.url).host
    return {"job_id": delivery.job_id, "webhook_id": delivery.webhook_id, "host": host}
