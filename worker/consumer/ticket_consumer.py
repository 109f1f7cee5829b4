"""Claim a ticket, process it and close it; no error escapes from here."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from shared.broker.queues import INTERACTIVE, SUSPECT
from shared.errors import InvalidOption, RedisUnavailable, WorkerUnfit
from shared.job import keys, manifest
from shared.job.ticket import Ticket
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted, Issued, Refused
from shared.objects import ObjectStore
from worker.consumer.exclusive_lock import ExclusiveLock
from worker.consumer.finisher import LONGEST_REST_S, RETRY_S, Release, TicketFinisher
from worker.consumer.leases import HeldTicket, Leases, named
from worker.consumer.merge import Merge
from worker.consumer.range_runner import RangeRunner
from worker.engine import Engine, ItemRequest, PreviewSelection
from worker.inference import ModelCache
from worker.lifecycle import UNFIT_EXIT, Shutdown, log_unexpected
from worker.storage import AssetReader

logger = logging.getLogger(__name__)


class TicketConsumer:
    """Processes tickets, one per calling thread. All of them share one engine."""

    def __init__(
        self,
        *,
        worker_id: str,
        ttl_s: float,
        store: JobStore,
        objects: ObjectStore,
        engine: Engine,
        leases: Leases,
        models: ModelCache,
        assets: AssetReader,
        publish: Callable[[Iterable[Issued]], int],
        shutdown: Shutdown,
        retry_s: float = RETRY_S,
    ) -> None:
        self._worker_id = worker_id
        self._ttl_s = ttl_s
        self._store = store
        self._objects = objects
        self._engine = engine
        self._leases = leases
        self._models = models
        self._assets = assets
        self._shutdown = shutdown
        self._finisher = TicketFinisher(
            store=store,
            objects=objects,
            leases=leases,
            publish=publish,
            retry_s=retry_s,
        )
        self._exclusive = ExclusiveLock()
        self._runners: set[RangeRunner] = set()
        self._lock = threading.Lock()
        self.running = 0
        """Tickets that hold a slot: processed, merged, or waiting for a suspect one to end."""

    def serve(self, ticket: Ticket, queue: str) -> None:
        """Process one ticket completely; a stale or doubled one costs one request to the job store.

        Every error is logged and left to recovery: an exception that escaped could cost the
        worker one of its threads for good.
        """
        with self._lock:
            self.running += 1
        try:
            turn = (
                self._exclusive.exclusive()
                if queue == SUSPECT
                else self._exclusive.shared(urgent=queue == INTERACTIVE)
            )
            with turn:
                self._serve(ticket, queue)
        except (RedisUnavailable, InvalidOption) as err:
            logger.warning("ticket left to recovery", extra=named(ticket, cause=str(err)))
        except BaseException as err:  # noqa: BLE001 - see above
            log_unexpected("ticket failed", err, **named(ticket))
        finally:
            with self._lock:
                self.running -= 1

    def make_room(self) -> bool:
        """Stop the bulk ticket with the most unstarted items; return whether there was one."""
        with self._lock:
            bulk = [each for each in self._runners if not each.is_urgent and each.unstarted]
            if not bulk:
                return False
            max(bulk, key=lambda runner: runner.unstarted).stop()
            return True

    def _serve(self, ticket: Ticket, queue: str) -> None:
        claim = self._store.leases.claim(ticket, self._worker_id, ttl_s=self._ttl_s)
        if isinstance(claim, Refused):
            logger.debug("ticket refused", extra=named(ticket, cause=claim.reason))
            return
        held = self._leases.hold(claim.lease)
        try:
            if claim.queue == SUSPECT != queue:
                # The message was delivered wrongly: the range must run alone, and this turn is not.
                logger.warning(
                    "suspect ticket from another queue", extra=named(ticket, cause=queue)
                )
                self._finisher.release(held, Release())
            elif ticket.is_merge:
                self._merge(held, claim)
            else:
                self._finisher.close(held, claim, self._process(held, claim, queue))
        finally:
            self._leases.drop(held)

    def _merge(self, held: HeldTicket, granted: Granted) -> None:
        try:
            Merge(self._store, self._objects, self._leases, held, granted).run()
        except Exception as err:  # noqa: BLE001 - logged there
            self._finisher.release(held, self._finisher.after_error(held, err))

    def _process(self, held: HeldTicket, granted: Granted, queue: str) -> Release:
        """Run what is left of the range; return how to release the ticket if it is incomplete.

        Whatever happens, the ticket is released and does not count as a death: a lease that expires
        makes its range suspect, which may have nothing to do with the error.
        """
        is_complete = len(held.lease.ticket.span) == len(granted.ended)
        if granted.is_cancelled or is_complete or held.is_stopped:
            return Release()
        try:
            runner = self._runner(held, granted, queue)
            with self._registered(runner):
                runner.run()
        except WorkerUnfit as err:
            logger.critical("worker unfit", exc_info=err)
            self._engine.device.leave(err)
            self._shutdown.drain(str(err), UNFIT_EXIT, blames_items=False)
            # The ticket rests: the model may break the device of the next worker, too.
            return Release(self._finisher.retry_s, LONGEST_REST_S, f"device: {err}")
        except Exception as err:  # noqa: BLE001 - logged there
            return self._finisher.after_error(held, err)
        return Release(
            delay_s=self._finisher.retry_s if runner.waiting_for else 0.0,
            longest_s=LONGEST_REST_S if runner.is_outage else 0.0,
            waiting_for=runner.waiting_for,
            died=runner.died,
        )

    def _runner(self, held: HeldTicket, granted: Granted, queue: str) -> RangeRunner:
        ticket, keys = held.lease.ticket, self._keys(held.lease.ticket, granted)
        template = ItemRequest(
            job_id=ticket.job_id,
            sequence=granted.sequence,
            spec=granted.spec,
            index=ticket.span.start,
            image_key=keys[ticket.span.start],
            generation=granted.generation,
            repaired=granted.repaired,
            model=self._models.get(granted.spec.rem_mode),
            redo=ticket.epoch > 1,
            isolate=queue == SUSPECT,
            urgent=queue == INTERACTIVE,
            previews=PreviewSelection(granted.spec.preview_stride(granted.total)),
            assets=self._assets.read(ticket.job_id, granted.spec),
        )
        return RangeRunner(
            held,
            granted,
            template,
            keys=keys,
            engine=self._engine,
            store=self._store,
            lock=self._exclusive,
        )

    @contextmanager
    def _registered(self, runner: RangeRunner) -> Iterator[None]:
        """Let `make_room` see the runner while it runs."""
        with self._lock:
            self._runners.add(runner)
        try:
            yield
        finally:
            with self._lock:
                self._runners.discard(runner)

    def _keys(self, ticket: Ticket, granted: Granted) -> dict[int, str]:
        """Return the range's image keys by index."""
        found: dict[int, str] = {}
        for number in manifest.chunks_of(ticket.span):
            chunk = self._store.queries.manifest_chunk(ticket.job_id, number)
            if chunk is None:
                key = keys.manifest_key(granted.manifest, number)
                chunk = self._objects.get(granted.spec.output_bucket, key).data
            first = number * manifest.CHUNK_KEYS
            found |= dict(enumerate(manifest.unpack(chunk), start=first))
        return found
