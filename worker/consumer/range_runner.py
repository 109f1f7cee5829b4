"""Run one claimed range: items into the engine, results into the job store."""

import queue
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from shared.errors import RedisUnavailable
from shared.job.record import ItemRecord
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted, MarkAnswer
from worker.consumer.exclusive_lock import ExclusiveLock
from worker.consumer.leases import HeldTicket
from worker.engine import Engine, Finished, ItemRequest, ItemResult

MARK_ITEMS: Final = 64
MARK_S: Final = 1.0
"""Items are marked in groups of this many, or after this long. A group is one command; items that a
dying worker has not marked are found in the bucket again, at one request per item."""
QUIET_S: Final = 5.0
"""Time without an ended item after which the job's status shows why, if a bucket is the reason."""
TICK_S: Final = 0.1
"""Longest wait before the runner looks at its ticket and at the shutdown again, in seconds."""


class RangeRunner:
    """Runs one range in the calling thread.

    Ends early, with nothing in flight, when the lease is lost, the ticket is stopped, the job is
    cancelled, its bucket fails, the process drains, or an urgent ticket waits for an isolated
    range; what is unfinished then is for the next process that claims the ticket.
    """

    def __init__(
        self,
        held: HeldTicket,
        granted: Granted,
        template: ItemRequest,
        *,
        keys: Mapping[int, str],
        engine: Engine,
        store: JobStore,
        lock: ExclusiveLock,
    ) -> None:
        """Run the unfinished items of *granted*.

        Args:
            held: The lease.
            granted: The claim.
            template: The request of any item of the range; what differs per item is replaced.
            keys: Image keys by index.
            engine: Processes the items.
            store: Records the results.
            lock: Says whether an urgent ticket waits for an isolated range.
        """
        self._held = held
        self._granted = granted
        self._template = template
        self._keys = keys
        self._engine = engine
        self._store = store
        self._lock = lock
        self._isolate = template.isolate
        self.is_urgent = template.urgent
        """Whether its items go before others."""
        span = held.lease.ticket.span
        self._pending = deque(index for index in span if index not in granted.ended)
        self._results: queue.SimpleQueue[ItemResult] = queue.SimpleQueue()
        self._in_engine = 0
        self._unmarked: list[ItemRecord] = []
        self._marked_at_s = self._moved_at_s = time.monotonic()
        self._has_begun = False
        self.waiting_for: str | None = None
        """Why the job cannot go on, if that is why the run ended."""
        self.is_outage = False
        """Whether that is because a service is down."""
        self.died = False
        """Whether the process left as unfit with an item of this range inside."""

    @property
    def unstarted(self) -> int:
        """Items not yet handed to the engine."""
        return len(self._pending)

    def stop(self) -> None:
        """Hand nothing more to the engine; callable from any thread."""
        self._held.stop()

    def run(self) -> None:
        """Return when every item has ended and is marked, or the run has been stopped.

        Isolated items go one by one, and each is announced in the job store before it is tried:
        if it ends this process, it alone is blamed.

        Raises:
            RedisUnavailable: If items cannot be marked and there is no time left to wait.
            Exception: Whatever else the job store raises; nothing is in flight then, either.
        """
        try:
            self._run()
        except BaseException:
            self._held.stop()
            while self._in_engine:
                self._collect()
            raise

    def _run(self) -> None:
        while self._may_offer() or self._in_engine or self._unmarked:
            if self._may_offer_now():
                self._offer()
            self._collect()
            if self._is_mark_due():
                self._mark()
            if time.monotonic() - self._moved_at_s >= QUIET_S:
                self._note_trouble()

    def _may_offer(self) -> bool:
        if self._held.is_lost:
            self._unmarked.clear()  # another process owns the items now; ours would be refused
        # Run at least one item: a range that had to wait for its turn must make progress.
        if self._isolate and self._has_begun and self._lock.is_wanted:
            self._held.stop()
        return bool(self._pending) and not self._held.is_stopped

    def _may_offer_now(self) -> bool:
        is_busy_alone = self._isolate and (self._in_engine or self._unmarked)
        return self._may_offer() and not is_busy_alone

    def _offer(self) -> None:
        index = self._pending[0]
        request = replace(
            self._template,
            index=index,
            image_key=self._keys[index],
            attempts_before=self._granted.attempts_before(index),
        )
        if self._isolate and not self._announce(request):
            return
        if self._engine.offer(request, self._results, timeout_s=TICK_S):
            self._pending.popleft()
            self._in_engine += 1
            self._has_begun = True

    def _announce(self, request: ItemRequest) -> bool:
        lease = self._held.lease
        try:
            is_ours = self._store.leases.trying(lease, request.index, image_key=request.image_key)
        except RedisUnavailable as err:
            self._held.wait_for_redis("item waits for Redis", err)
            return False
        if not is_ours:
            self._held.is_lost = True
        return is_ours

    def _collect(self) -> None:
        """Take the results that are there; wait a tick for one if there is nothing else to do."""
        wait_s = 0.0 if self._may_offer_now() and self._in_engine < MARK_ITEMS else TICK_S
        while self._in_engine:
            try:
                outcome = self._results.get(block=wait_s > 0, timeout=wait_s).outcome
            except queue.Empty:
                return
            wait_s = 0.0
            self._moved_at_s = time.monotonic()
            self._in_engine -= 1
            if isinstance(outcome, Finished):
                self._unmarked.append(outcome.record)
            else:
                self._held.stop()
                self.waiting_for = self.waiting_for or outcome.waiting_for
                self.is_outage |= outcome.is_outage
                self.died |= outcome.died

    def _note_trouble(self) -> None:
        """Let the job's status show why no item of this range ends, as far as that is known."""
        self._moved_at_s = time.monotonic()
        reason = self._engine.access.trouble(self._granted.spec)
        if reason is None or self._held.is_lost:
            return
        with suppress(RedisUnavailable):  # the next one is due soon
            self._store.leases.note(self._held.lease, reason)

    def _is_mark_due(self) -> bool:
        if not self._unmarked or self._held.is_lost:
            return False
        is_last = not self._in_engine and not self._may_offer()
        is_late = time.monotonic() - self._marked_at_s >= MARK_S
        at_once = self.is_urgent or self._isolate
        return at_once or is_last or is_late or len(self._unmarked) >= MARK_ITEMS

    def _mark(self) -> None:
        try:
            answer = self._store.leases.mark(self._held.lease, self._unmarked[: 2 * MARK_ITEMS])
        except RedisUnavailable as err:
            if self._held.is_hurried:
                raise
            # The outputs are in the bucket, so trying until the lease is lost costs nothing.
            self._held.wait_for_redis("marks wait for Redis", err)
            return
        finally:
            self._marked_at_s = time.monotonic()
        if answer in (MarkAnswer.LOST, MarkAnswer.DONE):
            self._held.is_lost = True  # or closed, with the light job that it was
            return
        del self._unmarked[: 2 * MARK_ITEMS]
        if answer is MarkAnswer.CANCELLED:
            self._held.stop()
