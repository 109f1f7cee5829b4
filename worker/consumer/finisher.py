"""How a ticket leaves this process: closed with its shard, or given back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.job import keys
from shared.job.ticket import Ticket
from shared.jobstore.store import JobStore
from shared.jobstore.values import Claim, ClosingAnswer, Issued
from shared.objects import ObjectStore
from worker.consumer.leases import Held, Leases

logger = logging.getLogger(__name__)

CLOSE_AGAIN_S: Final = 1.0
"""Rest before a ticket is closed again when Redis could not be asked, in seconds."""
RETRY_S: Final = 5.0
"""How long a ticket rests after a fault, in seconds."""
MAX_REASON_CHARS: Final = 500


class Closing:
    """Closes tickets and gives them back, as soon as Redis can be asked.

    Left to expire, a lease would be counted as a death, and its range become suspect. Safe to
    use from several threads.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        objects: ObjectStore,
        leases: Leases,
        publish: Callable[[Iterable[Issued]], int],
    ) -> None:
        self._store = store
        self._objects = objects
        self._leases = leases
        self._publish = publish
        self.is_hurried = False
        """Whether the process leaves, and waits for Redis no more."""

    def close(
        self, held: Held, claim: Claim, *, delay_s: float = 0.0, waiting_for: str | None = None
    ) -> None:
        """Put the range's shard and drop the ticket; give it back if it is not complete.

        Raises:
            RedisUnavailable: If Redis cannot be asked while there is no time to wait for it.
        """

        def close() -> None:
            closing = self._store.leases.finish_begin(held.lease)
            if closing.answer is ClosingAnswer.LOST:
                return
            if closing.complete:
                self._shard(held, claim, closing.records)
            else:
                self._release(held, delay_s, waiting_for)

        self._patiently(held, close)

    def release(self, held: Held, *, delay_s: float = 0.0, waiting_for: str | None = None) -> None:
        """Give the ticket back; it is free in *delay_s* seconds.

        Raises:
            RedisUnavailable: If Redis cannot be asked while there is no time to wait for it.
        """
        self._patiently(held, lambda: self._release(held, delay_s, waiting_for))

    def _patiently(self, held: Held, do: Callable[[], None]) -> None:
        while not held.lost:
            try:
                do()
            except RedisUnavailable as err:
                if self.is_hurried:
                    raise
                logger.warning("ticket waits", extra=named(held.lease.ticket, cause=str(err)))
                time.sleep(CLOSE_AGAIN_S)
            else:
                return

    def _shard(self, held: Held, claim: Claim, records: tuple[str, ...]) -> None:
        try:
            self._put_shard(held.lease.ticket, claim, records)
        except BucketUnavailable as err:
            self._release(held, RETRY_S, f"bucket: {err}")
        except StoreUnavailable:
            self._release(held, RETRY_S, None)
        except Exception as err:  # noqa: BLE001 - logged there
            self._release(held, RETRY_S, unforeseen(held.lease.ticket, err))
        else:
            _, issued = self._store.leases.finish_commit(held.lease)
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

    def _release(self, held: Held, delay_s: float, waiting_for: str | None) -> None:
        issued = self._store.leases.release(held.lease, delay_s=delay_s, waiting_for=waiting_for)
        self._leases.drop(held)  # it is no loss if the next beat does not find it
        self._publish(issued)


def unforeseen(ticket: Ticket, err: Exception) -> str:
    """Log an error that nobody has thought of; return what the job waits for because of it."""
    logger.error("ticket failed unforeseen", extra=named(ticket), exc_info=err)
    return f"a worker's error: {type(err).__name__}: {err}"[:MAX_REASON_CHARS]


def named(ticket: Ticket, **facts: object) -> dict[str, object]:
    """Return what a log line says of a ticket, with *facts*."""
    return {"job_id": ticket.job_id, "ticket": ticket.unit, "epoch": ticket.epoch, **facts}
