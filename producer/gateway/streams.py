"""Tell callers how jobs go on: one poll for all of them, however many listen.

A stream begins with the job's status and a position among its events. Events of items follow
without gaps; where some are missing there is a `reset`, and its reader reads the results again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice, pairwise
from typing import Final

from starlette.concurrency import run_in_threadpool

from producer.gateway import messages
from producer.gateway.listener import Listener
from producer.gateway.messages import Message
from producer.gateway.problems import Problem
from producer.gateway.watch import Watch, position_of
from shared.access import ApiKey
from shared.errors import RmbgError
from shared.job.spec import TERMINAL_STATES
from shared.jobstore.item_events import ItemEvent, Position
from shared.jobstore.store import JobStore
from shared.jobstore.values import JobStatus

logger = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""Time between two reads, in seconds: progress comes at most this often."""
RENEW_POLLS: Final = 20
"""Polls after which the interest in items is renewed, and API keys are checked again."""
KEEP_ALIVE_POLLS: Final = 30
"""Polls after which a stream gets a comment."""
WOKEN_AT_ONCE: Final = 32
"""Callers that are written to before other requests go on."""
_JOBS_AT_ONCE: Final = 200
"""Jobs whose status one script reads, which blocks Redis."""
RETRY_S: Final = 10
"""`Retry-After` when as many callers listen as may, in seconds."""


@dataclass(frozen=True)
class Stream:
    """A stream that a caller may read."""

    opening: Sequence[Message]
    is_whole: bool
    """Whether nothing follows: the job has ended."""
    at: Position
    listener: Listener

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the messages."""
        for message in self.opening:
            yield message.data
        if not self.is_whole:
            async for data in self.listener.messages(self.at):
                yield data


class Streams:
    """All streams of a gateway; used from the event loop only."""

    def __init__(self, store: JobStore, *, most: int) -> None:
        self._store = store
        self._most = most
        self._watched: dict[str, Watch] = {}
        self._polls = 0
        self._is_leaving = False

    async def run(self) -> None:
        """Poll for ever; cancel it to stop."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._poll()
            except RmbgError as err:
                logger.warning("streams wait for Redis", extra={"cause": str(err)})

    def leave(self) -> None:
        """End all streams, and open no more: the process is to end."""
        self._is_leaving = True
        for watch in self._watched.values():
            watch.end()
        for listener in self._listeners():
            listener.wake()

    async def open(self, job_id: str, key: ApiKey, after: Position | None) -> Stream | None:
        """Return a new stream of a job; None if the caller has seen its end.

        Close it with `close`.

        Args:
            job_id: The job.
            key: The caller's key; the stream ends when it is revoked.
            after: The last event that the caller has seen; None: it has seen none.

        Raises:
            Problem: If as many callers listen as may.
            UnknownJob: If Redis does not know the job.
        """
        if (
            self._is_leaving
            or sum(len(each.listeners) for each in self._watched.values()) >= self._most
        ):
            raise _too_many(self._most)
        listener, watch = Listener(key), self._watched.setdefault(job_id, Watch())
        watch.listeners.add(listener)  # before the status is read, so that nothing is missed
        try:
            status, missed = await run_in_threadpool(self._begin, job_id, after)
        except BaseException:
            self.close(job_id, listener)
            raise
        end = position_of(status)
        has_ended = status.state in TERMINAL_STATES
        if has_ended and after == end:
            self.close(job_id, listener)
            return None
        at = missed[-1].position if missed else end
        watch.at = min(watch.at or at, at)
        last = [messages.done(status)] if has_ended else []
        return Stream([*messages.opening(status, at, missed), *last], has_ended, at, listener)

    def close(self, job_id: str, listener: Listener) -> None:
        """Forget a stream; a repetition changes nothing."""
        if (watch := self._watched.get(job_id)) is not None:
            watch.listeners.discard(listener)
            if not watch.listeners:
                del self._watched[job_id]

    def _listeners(self) -> list[Listener]:
        return [each for watch in self._watched.values() for each in watch.listeners]

    def _begin(
        self, job_id: str, after: Position | None
    ) -> tuple[JobStatus, Sequence[ItemEvent] | None]:
        """Return the status and the events since *after*; None if some are not there any more."""
        self._store.item_events.listen([job_id])
        status = self._store.queries.status(job_id)
        if after is None:
            return status, ()
        found = self._store.item_events.after({job_id: after}).get(job_id, [])
        steps = [after, *(event.position for event in found)]
        is_whole = all(one.precedes(other) for one, other in pairwise(steps))
        is_at_end = steps[-1] >= position_of(status) if found else after == position_of(status)
        return status, found if is_whole and is_at_end else None

    async def _poll(self) -> None:
        """Read all watched jobs once, and tell their listeners what is new."""
        self._polls += 1
        if self._polls % RENEW_POLLS == 0:
            await self._renew()
        watched = iter([each for each in self._watched.items() if each[1].at is not None])
        while batch := dict(islice(watched, _JOBS_AT_ONCE)):
            at = {job_id: watch.at for job_id, watch in batch.items() if watch.at is not None}
            statuses, events = await run_in_threadpool(self._read, at)
            for job_id, watch in batch.items():
                watch.tell(statuses.get(job_id), events.get(job_id, []))
        for listener in self._listeners():
            if (listener.number - self._polls) % KEEP_ALIVE_POLLS == 0:
                listener.put(messages.COMMENT)
        await self._wake()

    async def _wake(self) -> None:
        """Let callers have what waits for them, a few at a time: other requests go on between."""
        waking = iter([each for each in self._listeners() if each.has_news])
        while batch := list(islice(waking, WOKEN_AT_ONCE)):
            for listener in batch:
                listener.wake()
            await asyncio.sleep(0)

    def _read(
        self, at: Mapping[str, Position]
    ) -> tuple[dict[str, JobStatus], dict[str, list[ItemEvent]]]:
        """Return the status of jobs, and then their events: those of all items that it counts."""
        statuses = self._store.queries.statuses(list(at))
        return {each.job_id: each for each in statuses}, self._store.item_events.after(at)

    async def _renew(self) -> None:
        """Renew the interest in items, and end the streams whose key is no longer valid."""
        keys = {each.key.name: each.key for each in self._listeners()}
        valid = await run_in_threadpool(self._renewed, list(self._watched), keys)
        for listener in self._listeners():
            if listener.key.name in keys and listener.key.sha256 not in valid:
                listener.end()

    def _renewed(self, job_ids: list[str], keys: Mapping[str, ApiKey]) -> set[str]:
        self._store.item_events.listen(job_ids)
        now, found = datetime.now(UTC), map(self._store.api_keys.find, keys)
        return {each.sha256 for each in found if each is not None and not each.is_expired(now)}


def _too_many(most: int) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-streams",
        f"{most} callers listen already; try again, or read the status of the job",
        {"Retry-After": str(RETRY_S)},
    )
