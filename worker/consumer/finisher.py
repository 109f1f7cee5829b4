"""How a ticket leaves this process: closed with its shard, or released."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.job import keys
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted, Issued
from shared.objects import ObjectStore, PreconditionFailed
from shared.objects.protocol import WAITING_FOR
from worker.consumer.leases import HeldTicket, Leases
from worker.consumer.merge_attempts import MergeStopped
from worker.inference import ModelRefused

logger = logging.getLogger(__name__)

RETRY_S: Final = 5.0
"""How long a ticket is delayed after an error, in seconds."""
LONGEST_REST_S: Final = 60.0
"""Longest delay of a ticket whose bucket is down: the delay doubles each time from `RETRY_S` on."""
MAX_REASON_CHARS: Final = 500


@dataclass(frozen=True)
class Release:
    """How a ticket is released."""

    delay_s: float = 0.0
    longest_s: float = 0.0
    """If above *delay_s*, the delay doubles each time up to this."""
    waiting_for: str | None = None
    """What the job waits for."""
    died: bool = False
    """Whether this counts as a death of the worker."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TicketFinisher:
    """Closes tickets and releases them, as soon as Redis answers.

    A lease that is left to expire counts as a death, and its range becomes suspect. Safe to use
    from several threads.
    """

    store: JobStore
    objects: ObjectStore
    leases: Leases
    publish: Callable[[Iterable[Issued]], int]
    retry_s: float = RETRY_S

    def close(self, held: HeldTicket, granted: Granted, release: Release) -> None:
        """Put the range's shard and drop the ticket; if it is not complete, *release* it.

        Raises:
            RedisUnavailable: If Redis does not answer and there is no time left to wait for it.
        """

        def close() -> None:
            found = self.store.leases.finish_begin(held.lease)
            if found is None:
                return
            if found.is_complete:
                self._put_shard(held, granted, found.records)
            else:
                self._release(held, release)

        self._until_answered(held, close)

    def release(self, held: HeldTicket, release: Release) -> None:
        """Release the ticket.

        Raises:
            RedisUnavailable: If Redis does not answer and there is no time left to wait for it.
        """
        self._until_answered(held, lambda: self._release(held, release))

    def after_error(self, held: HeldTicket, err: Exception) -> Release:
        """Return how to release a ticket after *err*; log an error that nobody expected."""
        match err:
            case MergeStopped():
                return Release()
            case PreconditionFailed():
                # Another worker's document, or ours if the answer was lost: the next merge sees.
                logger.warning("merge begins again", extra=held.named(cause=str(err)))
                return Release(self.retry_s)
            case BucketUnavailable():
                return Release(self.retry_s, waiting_for=f"bucket: {err}")
            case StoreUnavailable():
                return Release(self.retry_s, LONGEST_REST_S, f"{WAITING_FOR}: {err}")
            case RedisUnavailable() | ModelRefused():
                # Another worker may serve a refused model; the registry shows the reason.
                return Release(self.retry_s)
            case _:
                logger.error("ticket failed", extra=held.named(), exc_info=err)
                reason = f"a worker's error: {type(err).__name__}: {err}"
                return Release(self.retry_s, waiting_for=reason[:MAX_REASON_CHARS])

    def _until_answered(self, held: HeldTicket, ask: Callable[[], None]) -> None:
        while not held.is_lost:
            try:
                ask()
            except RedisUnavailable as err:
                if held.is_hurried:
                    raise
                held.wait_for_redis("ticket waits for Redis", err)
            else:
                return

    def _put_shard(self, held: HeldTicket, granted: Granted, records: tuple[str, ...]) -> None:
        """Write the range's records and commit them; a repetition writes the same."""
        ticket = held.lease.ticket
        key = keys.shard_key(ticket.job_id, ticket.unit, ticket.epoch)
        body = "".join(f"{record}\n" for record in records).encode()
        bucket = granted.spec.output_bucket
        try:
            self.objects.put(bucket, key, body, content_type="application/jsonl")
        except Exception as err:  # noqa: BLE001 - logged there
            self._release(held, self.after_error(held, err))
            return
        with self.leases.giving_up(held):
            _, issued = self.store.leases.finish_commit(held.lease)
        self.publish(issued)

    def _release(self, held: HeldTicket, release: Release) -> None:
        with self.leases.giving_up(held):
            issued = self.store.leases.release(
                held.lease,
                delay_s=release.delay_s,
                longest_s=release.longest_s,
                waiting_for=release.waiting_for,
                died=release.died,
            )
        self.publish(issued)
