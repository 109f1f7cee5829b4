"""What is done with a ticket: claim it, work it off, close it. Nothing escapes from here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Final

from shared.broker.queues import INTERACTIVE, SUSPECT
from shared.errors import (
    BucketUnavailable,
    InvalidOption,
    RedisUnavailable,
    StoreUnavailable,
    WorkerUnfit,
)
from shared.job import keys, manifest
from shared.job.ticket import Ticket
from shared.jobstore.store import JobStore
from shared.jobstore.values import Claim, ClaimAnswer, Issued
from shared.objects import ObjectStore, PreconditionFailed
from worker.consumer.exclusive_lock import Gate
from worker.consumer.finisher import RETRY_S, Closing, named, unforeseen
from worker.consumer.leases import Held, Leases
from worker.consumer.merge import Merger, MergeStopped
from worker.consumer.range_runner import Range, TicketRun
from worker.engine.engine import Engine
from worker.inference.model_cache import ModelRefused, Rack

logger = logging.getLogger(__name__)

GRANTED: Final = frozenset({ClaimAnswer.OK, ClaimAnswer.CANCELLED})


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
        unfit: Callable[[BaseException], None],
    ) -> None:
        self._worker_id = worker_id
        self._ttl_s = ttl_s
        self._store = store
        self._objects = objects
        self._engine = engine
        self._leases = leases
        self._rack = rack
        self._unfit = unfit
        self._closing = Closing(store=store, objects=objects, leases=leases, publish=publish)
        self._merger = Merger(store, objects)
        self._gate = Gate()
        self._runs: set[TicketRun] = set()
        self._serving = 0
        self._lock = threading.Lock()
        self._draining = False

    def serve(self, ticket: Ticket, queue: str) -> None:
        """Do all there is to do about one ticket; a stale or doubled one costs one question.

        Whatever goes wrong is logged and left to recovery: an exception that escaped could cost
        the worker one of its threads for good.
        """
        with self._lock:
            self._serving += 1
        try:
            with self._way_in(queue):
                self._serve(ticket, queue)
        except (RedisUnavailable, InvalidOption) as err:
            logger.warning("ticket left to recovery", extra=named(ticket, cause=str(err)))
        except BaseException:
            logger.exception("ticket failed unforeseen", extra=named(ticket))
        finally:
            with self._lock:
                self._serving -= 1

    def drain(self) -> None:
        """Hand nothing more to the engine; every ticket goes back with what it has done."""
        self._draining = True
        self._closing.is_hurried = True
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
        """Tickets that hold a slot: worked off, merged, or waiting for a suspect one to end."""
        return self._serving

    # ---- one ticket

    def _way_in(self, queue: str) -> AbstractContextManager[None]:
        if queue == SUSPECT:
            return self._gate.alone()
        return self._gate.together(urgent=queue == INTERACTIVE)

    def _serve(self, ticket: Ticket, queue: str) -> None:
        claim = self._store.leases.claim(ticket, self._worker_id, ttl_s=self._ttl_s)
        if claim.answer not in GRANTED or claim.lease is None:
            logger.debug("ticket not granted", extra=named(ticket, answer=claim.answer))
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
        delay_s, waiting_for = RETRY_S, None
        try:
            self._merger.merge(
                held.lease, claim, may_go_on=lambda: not (self._draining or held.lost)
            )
        except MergeStopped:
            delay_s = 0.0
        except (RedisUnavailable, StoreUnavailable):
            pass
        except BucketUnavailable as err:
            waiting_for = f"bucket: {err}"
        except PreconditionFailed as err:
            # Another's, or our own of which no answer came: what is there now tells.
            logger.warning("merge begins again", extra=named(held.lease.ticket, cause=str(err)))
        except Exception as err:  # noqa: BLE001 - logged there
            waiting_for = unforeseen(held.lease.ticket, err)
        else:
            return
        self._closing.release(held, delay_s=delay_s, waiting_for=waiting_for)

    def _work_off(self, held: Held, claim: Claim, queue: str) -> None:
        """Do what there is to do in the range, and close or give back the ticket.

        Whatever happens it is given back alive: a lease that runs out blames the range, which
        may be as innocent of it as can be.
        """
        delay_s, waiting_for = 0.0, None
        if self._has_items(claim, held):
            try:
                waiting_for = self._run(self._start(held, claim, queue))
                delay_s = RETRY_S if waiting_for else 0.0
            except ModelRefused:
                delay_s = RETRY_S  # another worker may serve it; the registry says why we do not
            except (RedisUnavailable, StoreUnavailable):
                delay_s = RETRY_S
            except BucketUnavailable as err:
                delay_s, waiting_for = RETRY_S, f"bucket: {err}"
            except WorkerUnfit as err:
                if not self._draining:  # told already, by another ticket with the same fate
                    self._unfit(err)
            except Exception as err:  # noqa: BLE001 - logged there
                delay_s, waiting_for = RETRY_S, unforeseen(held.lease.ticket, err)
        self._closing.close(held, claim, delay_s=delay_s, waiting_for=waiting_for)

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
        return TicketRun(work, self._engine, self._store, is_wanted=lambda: self._gate.is_wanted)

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
            chunk = self._store.queries.manifest_chunk(ticket.job_id, number)
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
