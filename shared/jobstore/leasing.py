"""The worker's side: to claim tickets, record ends, and close ranges and jobs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from shared.errors import InvalidOption
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec, Json
from shared.job.ticket import Ticket
from shared.jobstore.connection import Connection, death_limits, fence, issued_from, to_ms
from shared.jobstore.values import (
    Claim,
    Granted,
    Issued,
    Lease,
    MarkAnswer,
    RangeRecords,
    RefusalReason,
    Refused,
)

UNREADABLE_S: Final = 5.0
"""How long a ticket rests whose job's document could not be read, in seconds."""


class Leasing(Connection):
    """What a worker does with tickets.

    Every call but `claim` names a lease, and does nothing once that does not stand any more.
    """

    def claim(self, ticket: Ticket, worker_id: str, *, ttl_s: float) -> Claim:
        """Ask for the work that a message points to.

        A lease lasts *ttl_s* unless `beat` renews it. All-ended ranges are granted too: their
        worker died before the shard was accepted. *worker_id* must be of one process alone.

        Raises:
            InvalidOption: If the job's document cannot be read here; the ticket has been given
                back, for a later version to work off.
        """
        owner = f"{worker_id}:{secrets.token_hex(8)}"
        lease = Lease(ticket, owner)
        word, *granted = self._run("claim", worker=worker_id, ttl_ms=to_ms(ttl_s), **fence(lease))
        if not granted:
            return Refused(RefusalReason(word.decode()))
        queue, spec, sequence, generation, manifest, bits, attempts = granted
        return Granted(
            lease=lease,
            spec=self._read(spec, lease),
            sequence=sequence,
            generation=generation,
            ended=_ended(bits, ticket.span),
            queue=queue.decode(),
            attempts=dict(zip(attempts[::2], attempts[1::2], strict=True)),
            manifest=manifest.decode(),
            is_cancelled=word == b"CANCELLED",
        )

    def _read(self, spec: bytes, lease: Lease) -> JobSpec:
        """Read a job's document, or give its ticket back: left to expire, it would be a death."""
        try:
            return JobSpec.from_json(spec)
        except (InvalidOption, ValueError, TypeError, LookupError, AttributeError) as err:
            cause = f"a worker that can read its document: {err}"
            self.release(lease, delay_s=UNREADABLE_S, waiting_for=cause)
            raise InvalidOption(f"job {lease.ticket.job_id} waits for {cause}") from err

    def beat(self, leases: Sequence[Lease], *, ttl_s: float) -> list[Lease]:
        """Let *leases* last *ttl_s* from now, and return those that are lost."""
        if not leases:
            return []
        rows = [tuple(fence(lease).values()) for lease in leases]
        return [leases[n] for n in self._run("beat", rows, ttl_ms=to_ms(ttl_s))]

    def mark(self, lease: Lease, records: Sequence[ItemRecord]) -> MarkAnswer:
        """Record that items of the range have ended; all of them or, if the lease is lost, none.

        An item that has ended before is left as it was, so a repetition counts nothing twice.

        Raises:
            ValueError: If an item is not of the range.
        """
        span = lease.ticket.span
        for record in records:
            if record.index not in span:
                raise ValueError(f"item {record.index} is not of {lease.ticket.unit}")
        answer = self._run(
            "mark",
            map(_marking, records),
            bucket_ms=to_ms(self._rules.rate_bucket_s),
            buckets_kept=self._rules.rate_buckets,
            **fence(lease),
        )
        return MarkAnswer(answer.decode())

    def trying(self, lease: Lease, index: int, *, image_key: str) -> bool:
        """In the suspect lane: note which item is tried next, to be blamed should we die of it.

        The third death on one item ends it as failed, with a record that names *image_key*.
        False: the lease is lost, so do not try it.
        """
        deaths = self._rules.item_deaths
        crash = {"class": "WorkerCrash", "reason": f"{deaths} workers died on this item alone"}
        record = ItemRecord(
            index=index, image_key=image_key, state="failed", error=crash, attempts=0
        )
        return bool(self._run("trying", index=index, record=record.to_json(), **fence(lease)))

    def finish_begin(self, lease: Lease) -> RangeRecords | None:
        """Return the records of the range for its shard, or None if the lease is lost.

        They include the records of earlier owners of the ticket.

        Raises:
            ValueError: If the lease is of a merge ticket, here and in `finish_commit`.
        """
        _refuse_merge(lease)
        word, *found = self._run("finish_begin", **fence(lease))
        if word == b"LOST":
            return None
        is_complete, *pairs = found
        in_order = sorted(zip(map(int, pairs[::2]), pairs[1::2], strict=True))
        return RangeRecords(bool(is_complete), tuple(record.decode() for _, record in in_order))

    def finish_commit(self, lease: Lease) -> tuple[bool, list[Issued]]:
        """Accept the shard that was put since `finish_begin`; drop the ticket and its records.

        A shard without records is not listed. The job's last range issues its merge ticket.

        Returns:
            Whether it was accepted, and what to publish. False, and nothing happens, if the
            lease is lost, the range may not be closed, or records came since `finish_begin`.
        """
        _refuse_merge(lease)
        word, *flat = self._run("finish_commit", **fence(lease))
        return word == b"OK", issued_from(flat)

    def merge_commit(self, lease: Lease) -> bool:
        """End the job whose results have been written: `done`, or `cancelled` if it was.

        Emits the job's one event, and lets Redis forget the job after `Rules.keep_after_end_s`.
        False if the lease is lost.

        Raises:
            ValueError: If the lease is not of a merge ticket.
        """
        if not lease.ticket.is_merge:
            raise ValueError(f"{lease.ticket.unit} is not a merge ticket")
        rules = self._rules
        keep_ms = to_ms(rules.keep_after_end_s)
        kept = {"keep_ms": keep_ms, "events_kept": rules.events_kept}
        return bool(self._run("merge_commit", **kept, **fence(lease)))

    def release(
        self,
        lease: Lease,
        *,
        delay_s: float = 0,
        waiting_for: str | None = None,
        died: bool = False,
    ) -> list[Issued]:
        """Release the ticket so that another worker can process it; recorded items stay recorded.

        It goes to `rmbg.recovery` (interactive and suspect tickets to their own queues), at once
        or after *delay_s*. A repetition changes nothing.

        Args:
            lease: The lease to release.
            delay_s: Seconds until the ticket is issued again; ignored with *died*.
            waiting_for: What the job waits for, shown in its status until shortly after that.
            died: Count a death, exactly as if the lease had run out: for a process that leaves
                because of a bug and would otherwise take the same ticket down with the next one.
                The ticket is issued at once, as an expired one is.

        Returns:
            The tickets to publish; none if the lease is lost.
        """
        rules = self._rules
        issued = self._run(
            "release",
            rest_ms=0 if died else to_ms(delay_s),
            reason=waiting_for or "",
            fresh_ms=to_ms(rules.waiting_fresh_s),
            died=int(died),
            **death_limits(rules),
            **fence(lease),
        )
        return issued_from(issued)


def _refuse_merge(lease: Lease) -> None:
    if lease.ticket.is_merge:
        raise ValueError("a merge ticket has no range to close; see merge_commit")


def _marking(record: ItemRecord) -> tuple[int, str, str, str, str, int]:
    error_class = (record.error or {}).get("class", "")
    verdict = record.verdict or ""
    return record.index, record.state, record.to_json(), error_class, verdict, record.attempts


def _ended(bits: Json, span: range) -> frozenset[int]:
    """Read a piece of the bitmap, which begins at the byte that holds the range's first item."""
    if not any(bits):
        return frozenset()
    offset = span.start // 8 * 8
    return frozenset(i for i in span if bits[(i - offset) // 8] >> (7 - i % 8) & 1)
