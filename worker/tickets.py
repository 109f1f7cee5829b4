"""What is done with a ticket: claim it, work it off, close it. Nothing escapes from here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from shared import keys, manifest
from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import Claim, ClaimAnswer, ClosingAnswer, Issued
from shared.objects import ObjectStore
from shared.queue import INTERACTIVE, SUSPECT
from shared.ticket import Ticket
from worker.engine import Engine
from worker.gate import Gate
from worker.leases import Held, Leases
from worker.merge import Merger
from worker.rack import ModelRefused, Rack
from worker.runs import Range, TicketRun

logger = logging.getLogger(__name__)

GRANTED: Final = frozenset({ClaimAnswer.OK, ClaimAnswer.CANCELLED})
CLOSE_AGAIN_S: Final = 1.0
"""Rest before a ticket is closed again when Redis could not be asked, in seconds."""
RETRY_S: Final = 5.0
"""How long a ticket rests after a fault of the store, in seconds."""


class Tickets:
    """Serves tickets, one a calling thread. All of them share one engine."""

    def __init__(
        self,
        *,
        worker_id: str,
        ttl_s: float,
        store: JobStore,
        objects: ObjectStore,
        engine: Engine,
        leases: Leases,
        rack: Rack,
        publish: Callable[[Iterable[Issued]], int],
    ) -> None:
        self._worker_id = worker_id
        self._ttl_s = ttl_s
        self._store = store
        self._objects = objects
        self._engine = engine
        self._leases = leases
        self._rack = rack
        self._publish = publish
        self._merger = Merger(store, objects)
        self._gate = Gate()
        self._runs: set[TicketRun] = set()
        self._lock = threading.Lock()
        self._draining = False

    def serve(self, ticket: Ticket, queue: str) -> None:
        """Do all there is to do about one ticket; a stale or doubled one costs one question.

        Whatever goes wrong is logged and left to recovery: an exception that escaped could cost
        the worker one of its threads for good.
        """
        try:
            with self._gate.alone() if queue == SUSPECT else self._gate.together():
                self._serve(ticket, queue)
        except RedisUnavailable as err:
            logger.warning("ticket left to recovery", extra=_named(ticket, cause=str(err)))
        except BaseException:
            logger.exception("ticket failed unforeseen", extra=_named(ticket))

    def drain(self) -> None:
        """Hand nothing more to the engine; every ticket goes back with what it has done."""
        self._draining = True
        with self._lock:
            for run in self._runs:
                run.stop()

    def make_room(self) -> bool:
        """Give back the unstarted items of the longest bulk ticket; return whether one had any."""
        with self._lock:
            bulk = [run for run in self._runs if not run.urgent and run.unstarted]
            if not bulk:
                return False
            max(bulk, key=lambda run: run.unstarted).stop()
            return True

    @property
    def running(self) -> int:
        """Tickets being worked off."""
        return len(self._runs)

    # ---- one ticket

    def _serve(self, ticket: Ticket, queue: str) -> None:
        claim = self._store.claim(ticket, self._worker_id, ttl_s=self._ttl_s)
        if claim.answer not in GRANTED or claim.lease is None:
            logger.debug("ticket not granted", extra=_named(ticket, answer=claim.answer))
            return
        held = self._leases.hold(claim.lease)
        try:
            if ticket.is_merge:
                self._merge(held, claim)
            else:
                self._work_off(held, claim, queue)
        finally:
            self._leases.drop(held)

    def _merge(self, held: Held, claim: Claim) -> None:
        try:
            self._merger.merge(held.lease, claim)
        except BucketUnavailable as err:
            self._release(held, delay_s=RETRY_S, waiting_for=f"bucket: {err}")
        except StoreUnavailable:
            self._release(held, delay_s=RETRY_S)

    def _work_off(self, held: Held, claim: Claim, queue: str) -> None:
        delay_s, waiting_for = 0.0, None
        if self._has_items(claim, held):
            try:
                run = self._start(held, claim, queue)
            except ModelRefused:
                delay_s = RETRY_S  # another worker may serve it; the registry says why we do not
            except (RedisUnavailable, StoreUnavailable):
                delay_s = RETRY_S
            except BucketUnavailable as err:
                delay_s, waiting_for = RETRY_S, f"bucket: {err}"
            else:
                waiting_for = self._run(run)
                delay_s = RETRY_S if waiting_for else 0.0
        self._close_patiently(held, claim, delay_s=delay_s, waiting_for=waiting_for)

    def _has_items(self, claim: Claim, held: Held) -> bool:
        open_items = len(held.lease.ticket.span) > len(claim.ended)
        return claim.answer is ClaimAnswer.OK and open_items and not self._draining

    def _start(self, held: Held, claim: Claim, queue: str) -> TicketRun:
        if claim.spec is None:
            raise RuntimeError("a granted claim without a job")
        work = Range(
            held=held,
            claim=claim,
            keys=self._keys(held.lease.ticket, claim),
            model=self._rack.get(claim.spec.rem_mode),
            urgent=queue == INTERACTIVE,
            isolate=queue == SUSPECT,
        )
        return TicketRun(work, self._engine, self._store)

    def _run(self, run: TicketRun) -> str | None:
        with self._lock:
            self._runs.add(run)
        if self._draining:  # it began between the flag and the set
            run.stop()
        try:
            run.work_off()
        finally:
            with self._lock:
                self._runs.discard(run)
        return run.waiting_for

    def _keys(self, ticket: Ticket, claim: Claim) -> dict[int, str]:
        """Return the range's image keys by index."""
        found: dict[int, str] = {}
        for number in manifest.chunks_of(ticket.span):
            chunk = self._store.manifest_chunk(ticket.job_id, number)
            if chunk is None:
                chunk = self._stored_chunk(claim, number)
            first = number * manifest.CHUNK_KEYS
            found |= dict(enumerate(manifest.unpack(chunk), start=first))
        return found

    def _stored_chunk(self, claim: Claim, number: int) -> bytes:
        if claim.spec is None:
            raise RuntimeError("a granted claim without a job")
        key = keys.manifest_key(claim.manifest, number)
        return self._objects.get(claim.spec.output_bucket, key).data

    # ---- closing

    def _close_patiently(
        self, held: Held, claim: Claim, *, delay_s: float, waiting_for: str | None
    ) -> None:
        """Close the ticket as soon as Redis can be asked.

        Left to expire, its lease would be counted as a death, and the range become suspect.
        """
        while not held.lost:
            try:
                self._close(held, claim, delay_s=delay_s, waiting_for=waiting_for)
            except RedisUnavailable as err:
                if self._draining:
                    raise
                logger.warning("ticket waits", extra=_named(held.lease.ticket, cause=str(err)))
                time.sleep(CLOSE_AGAIN_S)
            else:
                return

    def _close(self, held: Held, claim: Claim, *, delay_s: float, waiting_for: str | None) -> None:
        """Put the range's shard and drop the ticket; give it back if it is not complete."""
        closing = self._store.finish_begin(held.lease)
        if closing.answer is ClosingAnswer.LOST:
            return
        if not closing.complete:
            self._release(held, delay_s=delay_s, waiting_for=waiting_for)
            return
        try:
            self._put_shard(held.lease.ticket, claim, closing.records)
        except BucketUnavailable as err:
            self._release(held, delay_s=RETRY_S, waiting_for=f"bucket: {err}")
        except StoreUnavailable:
            self._release(held, delay_s=RETRY_S)
        else:
            _, issued = self._store.finish_commit(held.lease)
            self._leases.drop(held)
            self._publish(issued)

    def _put_shard(self, ticket: Ticket, claim: Claim, records: tuple[str, ...]) -> None:
        """Write the range's records; a repetition writes the same."""
        if claim.spec is None:
            raise RuntimeError("a granted claim without a job")
        key = keys.shard_key(ticket.job_id, ticket.unit, ticket.epoch)
        body = "".join(f"{record}\n" for record in records).encode()
        bucket = claim.spec.output_bucket
        self._objects.put(bucket, key, body, content_type="application/jsonl")

    def _release(self, held: Held, *, delay_s: float = 0.0, waiting_for: str | None = None) -> None:
        issued = self._store.release(held.lease, delay_s=delay_s, waiting_for=waiting_for)
        self._leases.drop(held)  # it is no loss if the next beat does not find it
        self._publish(issued)


def _named(ticket: Ticket, **facts: object) -> dict[str, object]:
    return {"job_id": ticket.job_id, "ticket": ticket.unit, "epoch": ticket.epoch, **facts}
