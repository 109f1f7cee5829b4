"""One ticket's run: items into the engine, outcomes into the store of truth."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.errors import RedisUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import Claim, ItemResult, MarkAnswer
from worker.consumer.leases import Held
from worker.engine.engine import Engine
from worker.engine.item import Ended, Outcome
from worker.inference.api import Model
from worker.storage.item_ref import Work

logger = logging.getLogger(__name__)

MARK_ITEMS: Final = 64
MARK_S: Final = 1.0
"""Items are marked in groups of this many, or after this long: a group is one command, and what a
dying worker has not marked is found in the bucket again, one request an item."""
TICK_S: Final = 0.1
AGAIN_S: Final = 1.0
"""Rest before Redis is asked again, in seconds: an outage may last, and each time is logged."""


@dataclass(frozen=True)
class Range:
    """What a claimed range ticket is about."""

    held: Held
    claim: Claim
    keys: dict[int, str]
    model: Model
    urgent: bool
    isolate: bool


class TicketRun:
    """Works off one claimed range in the calling thread.

    Ends early, with nothing in flight, when the lease is lost, the job is cancelled, the job's
    bucket fails, `stop` is called, or *is_wanted* says that an isolated one keeps others waiting;
    what is unfinished then is for whoever claims it next.
    """

    def __init__(
        self,
        work: Range,
        engine: Engine,
        store: JobStore,
        *,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._range = work
        self._engine = engine
        self._store = store
        self._is_wanted = is_wanted
        span = work.held.lease.ticket.span
        self._pending = deque(index for index in span if index not in work.claim.ended)
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._flying = 0
        self._ended: list[ItemResult] = []
        self._marked_at_s = time.monotonic()
        self._stopped = False
        self._begun = False
        self.waiting_for: str | None = None
        """Why the job cannot go on, when that is why the run ended."""

    @property
    def unstarted(self) -> int:
        """Items not yet handed to the engine."""
        return len(self._pending)

    @property
    def urgent(self) -> bool:
        """Whether its items go before others."""
        return self._range.urgent

    def stop(self) -> None:
        """Hand nothing more to the engine; callable from any thread."""
        self._stopped = True

    def work_off(self) -> None:
        """Return when every item has ended and is marked, or the run has been stopped.

        Isolated items go one by one, each announced in the store before it is tried, so that
        should it end this process it alone is blamed.
        """
        while self._may_offer() or self._flying or self._ended:
            if self._may_offer_now():
                self._offer()
            self._collect()
            if self._is_due():
                self._mark()

    def _may_offer(self) -> bool:
        if self._range.held.lost:
            self._stopped = True
            self._ended.clear()  # another process owns them now; ours would be refused
        # One item at least: or a range that had to wait for its turn would never get on.
        if self._range.isolate and self._begun and self._is_wanted():
            self._stopped = True
        return bool(self._pending) and not self._stopped

    def _may_offer_now(self) -> bool:
        alone = self._range.isolate and (self._flying or self._ended)
        return self._may_offer() and not alone

    def _offer(self) -> None:
        work = self._work(self._pending[0])
        if work.isolate and not self._announce(work):
            return
        if self._engine.offer(work, self._on_done, timeout_s=TICK_S):
            self._pending.popleft()
            self._flying += 1
            self._begun = True

    def _announce(self, work: Work) -> bool:
        lease = self._range.held.lease
        try:
            stands = self._store.leases.trying(lease, work.index, image_key=work.image_key)
        except RedisUnavailable as err:
            logger.warning("an item waits for Redis", extra=self._named(cause=str(err)))
            time.sleep(AGAIN_S)
            return False
        if not stands:
            self._range.held.lose()
        return stands

    def _on_done(self, _work: Work, outcome: Outcome) -> None:
        self._outcomes.put(outcome)

    def _collect(self) -> None:
        """Take the outcomes that are there; wait a tick for one if nothing else is to be done."""
        wait_s = 0.0 if self._may_offer_now() and self._flying < MARK_ITEMS else TICK_S
        while self._flying:
            try:
                outcome = self._outcomes.get(block=wait_s > 0, timeout=wait_s)
            except queue.Empty:
                return
            wait_s = 0.0
            self._flying -= 1
            if isinstance(outcome, Ended):
                self._ended.append(ItemResult(outcome.record, outcome.verdict))
            else:
                self._stopped = True
                self.waiting_for = self.waiting_for or outcome.waiting_for

    def _is_due(self) -> bool:
        if not self._ended or self._range.held.lost:
            return False
        everything = not self._flying and not self._may_offer()
        late = time.monotonic() - self._marked_at_s >= MARK_S
        at_once = self._range.urgent or self._range.isolate
        return at_once or everything or late or len(self._ended) >= MARK_ITEMS

    def _mark(self) -> None:
        try:
            answer = self._store.leases.mark(self._range.held.lease, self._ended[: 2 * MARK_ITEMS])
        except RedisUnavailable as err:
            # The pictures are in the bucket, so nothing is lost by trying until the lease is.
            logger.warning("marks wait for Redis", extra=self._named(cause=str(err)))
            time.sleep(AGAIN_S)
            return
        finally:
            self._marked_at_s = time.monotonic()
        if answer is MarkAnswer.LOST:
            self._range.held.lose()
            return
        del self._ended[: 2 * MARK_ITEMS]
        if answer is MarkAnswer.CANCELLED:
            self._stopped = True

    def _named(self, **facts: object) -> dict[str, object]:
        ticket = self._range.held.lease.ticket
        return {"job_id": ticket.job_id, "ticket": ticket.unit, **facts}

    def _work(self, index: int) -> Work:
        claim = self._range.claim
        if claim.spec is None:
            raise RuntimeError("a granted claim without a job")
        lease = self._range.held.lease
        return Work(
            job_id=lease.ticket.job_id,
            sequence=claim.sequence,
            spec=claim.spec,
            index=index,
            image_key=self._range.keys[index],
            model=self._range.model,
            generation=claim.generation,
            attempts_before=claim.attempts.get(index, claim.generation - 1),
            redo=lease.ticket.epoch > 1,
            isolate=self._range.isolate,
            urgent=self._range.urgent,
        )
