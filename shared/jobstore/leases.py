"""Claim tickets, record ends of items, and close ranges and jobs."""

import secrets
from collections.abc import Collection, Sequence
from typing import Final

from shared.errors import FeatureMissing, InvalidOption
from shared.job.features import FEATURES
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.ticket import Ticket
from shared.jobstore.connection import StorePart, to_ms
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
"""Seconds until a ticket is issued again whose job document could not be read."""


class Leases(StorePart):
    """What a worker does with tickets.

    Every method but `claim` takes a lease, and changes nothing once the lease is lost.
    """

    def claim(
        self,
        ticket: Ticket,
        worker_id: str,
        *,
        ttl_s: float,
        features: Collection[str] = FEATURES,
    ) -> Claim:
        """Claim the ticket of a message.

        A lease lasts *ttl_s* seconds unless `beat` renews it. A range whose items have all ended
        is granted too: its worker died before the shard was accepted. *worker_id* must be unique
        to the process. A ticket whose job needs a feature that is not among *features* is parked
        for another worker, before there is a lease.

        Raises:
            InvalidOption: If this version cannot read the job document; the ticket has been
                released for a worker that can.
        """
        lease = Lease(ticket, f"{worker_id}:{secrets.token_hex(8)}")
        word, *granted = self.connection.run(
            "claim",
            worker=worker_id,
            ttl_ms=to_ms(ttl_s),
            features=" ".join(sorted(features)),
            rest_ms=to_ms(UNREADABLE_S),
            fresh_ms=to_ms(self.rules.waiting_fresh_s),
            **lease.fence,
        )
        if not granted:
            return Refused(RefusalReason(word.decode()))
        queue, spec, sequence, generation, manifest, bits, attempts, added, *rest = granted
        is_cancelled = word == b"CANCELLED"
        is_only_closed = is_cancelled or ticket.is_merge
        return Granted(
            lease=lease,
            spec=self._read(lease, spec, added, None if is_only_closed else features),
            sequence=sequence,
            generation=generation,
            total=rest[0],
            repaired=rest[1],
            ended=_ended(bits, ticket.span),
            queue=queue.decode(),
            attempts=dict(zip(attempts[::2], attempts[1::2], strict=True)),
            manifest=manifest.decode(),
            is_cancelled=is_cancelled,
        )

    def _read(
        self, lease: Lease, spec: bytes, added: bytes, features: Collection[str] | None
    ) -> JobSpec:
        """Read a job document, or release its ticket: an expired lease would count as a death."""
        try:
            return JobSpec.from_json(spec, added, features=features)
        except (InvalidOption, ValueError, TypeError, LookupError, AttributeError) as err:
            is_known = isinstance(err, FeatureMissing)
            cause = str(err) if is_known else f"a worker that can read its document: {err}"
            self.release(lease, delay_s=UNREADABLE_S, waiting_for=cause)
            raise InvalidOption(f"job {lease.ticket.job_id} waits for {cause}") from err

    def beat(self, leases: Sequence[Lease], *, ttl_s: float) -> list[Lease]:
        """Renew *leases* for *ttl_s* seconds from now, and return those that are lost."""
        if not leases:
            return []
        rows = [tuple(lease.fence.values()) for lease in leases]
        return [leases[n] for n in self.connection.run("beat", rows, ttl_ms=to_ms(ttl_s))]

    def mark(self, lease: Lease, records: Sequence[ItemRecord]) -> MarkAnswer:
        """Record that items of the range have ended: all of them or, if the lease is lost, none.

        An item that has ended before does not change, so a repetition counts nothing twice.

        Raises:
            ValueError: If an item is outside the range.
        """
        span = lease.ticket.span
        for record in records:
            if record.index not in span:
                raise ValueError(f"item {record.index} is outside the range {lease.ticket.unit}")
        rows = [
            (
                record.index,
                record.state,
                record.to_json(),
                (record.error or {}).get("class", ""),
                record.verdict or "",
                record.attempts,
            )
            for record in records
        ]
        answer = self.connection.run(
            "mark",
            rows,
            bucket_ms=to_ms(self.rules.rate_bucket_s),
            buckets_kept=self.rules.rate_buckets,
            **lease.fence,
        )
        return MarkAnswer(answer.decode())

    def trying(self, lease: Lease, index: int, *, image_key: str) -> bool:
        """Record which item of a suspect range is tried next, so that a death is blamed on it.

        The third death on one item fails it, with a record that names *image_key*.

        Returns:
            False if the lease is lost: do not try the item.
        """
        reason = f"{self.rules.item_deaths} workers died on this item alone"
        record = ItemRecord(
            index=index,
            image_key=image_key,
            state="failed",
            error={"class": "WorkerCrash", "reason": reason},
            attempts=0,
        )
        return bool(
            self.connection.run("trying", index=index, record=record.to_json(), **lease.fence)
        )

    def finish_begin(self, lease: Lease) -> RangeRecords | None:
        """Return the records of the range for its shard, or None if the lease is lost.

        They include the records that earlier owners of the ticket have written.

        Raises:
            ValueError: If the lease is that of a merge ticket.
        """
        _refuse_merge(lease)
        word, *found = self.connection.run("finish_begin", **lease.fence)
        if word == b"LOST":
            return None
        is_complete, *pairs = found
        in_order = sorted(zip(map(int, pairs[::2]), pairs[1::2], strict=True))
        return RangeRecords(bool(is_complete), tuple(record.decode() for _, record in in_order))

    def finish_commit(self, lease: Lease) -> tuple[bool, list[Issued]]:
        """Accept the shard written since `finish_begin`, and drop the ticket and its records.

        A shard without records is not listed. The job's last range issues its merge ticket.

        Returns:
            Whether the shard was accepted, and the tickets to publish. False, and nothing
            changes, if the lease is lost, the range may not be closed, or records were added
            since `finish_begin`.

        Raises:
            ValueError: If the lease is that of a merge ticket.
        """
        _refuse_merge(lease)
        word, *flat = self.connection.run("finish_commit", **lease.fence)
        return word == b"OK", Issued.read(flat)

    def merge_failed(self, lease: Lease, document: str, error: str) -> int:
        """Count that the merge failed to write *document* with an *error* of this class.

        Returns:
            How often it has failed so, over all issues of the ticket; 0 if the lease is lost.
        """
        return int(
            self.connection.run("merge_failed", failure=f"{document}:{error}", **lease.fence)
        )

    def merge_commit(self, lease: Lease, *, ended_without: str = "") -> bool:
        """End the job whose results have been written: `done`, or `cancelled` if it was.

        Adds the job's one event, and lets Redis forget the job after `Rules.keep_after_end_s`.

        Args:
            lease: The lease of the merge ticket.
            ended_without: Documents that could not be written, with the reason; the status shows
                it.

        Returns:
            False if the lease is lost.

        Raises:
            ValueError: If the lease is not that of a merge ticket.
        """
        if not lease.ticket.is_merge:
            raise ValueError(f"{lease.ticket.unit} is not a merge ticket; use finish_commit")
        return bool(
            self.connection.run(
                "merge_commit",
                ended_without=ended_without,
                keep_ms=to_ms(self.rules.keep_after_end_s),
                events_kept=self.rules.events_kept,
                **lease.fence,
            )
        )

    def note(self, lease: Lease, waiting_for: str) -> bool:
        """Record what the job waits for while the lease is held; return False if it is lost.

        The status shows it for `Rules.waiting_fresh_s`, or until the next item ends.
        """
        fresh_ms = to_ms(self.rules.waiting_fresh_s)
        return bool(
            self.connection.run("note", reason=waiting_for, fresh_ms=fresh_ms, **lease.fence)
        )

    def release(
        self,
        lease: Lease,
        *,
        delay_s: float = 0,
        longest_s: float = 0,
        waiting_for: str | None = None,
        died: bool = False,
    ) -> list[Issued]:
        """Release the ticket so that another worker can process it; recorded items stay recorded.

        It goes to `rmbg.recovery` (interactive and suspect tickets to their own queues), at once
        or after *delay_s*. A repetition changes nothing.

        Args:
            lease: The lease to release.
            delay_s: Seconds until the ticket is issued again; ignored with *died*.
            longest_s: If above *delay_s*, the delay doubles with each such release up to this,
                until an item of the ticket ends.
            waiting_for: What the job waits for; its status shows it until shortly after the delay.
            died: Count a death as if the lease had expired, and issue the ticket at once, as an
                expired one is. For a process that leaves because of a bug: without the count, an
                item that triggers the bug could stop one worker after another.

        Returns:
            The tickets to publish; none if the lease is lost.
        """
        issued = self.connection.run(
            "release",
            delay_ms=0 if died else to_ms(delay_s),
            longest_ms=0 if died else to_ms(longest_s),
            reason=waiting_for or "",
            fresh_ms=to_ms(self.rules.waiting_fresh_s),
            died=int(died),
            **self.rules.death_limits,
            **lease.fence,
        )
        return Issued.read(issued)


def _refuse_merge(lease: Lease) -> None:
    if lease.ticket.is_merge:
        raise ValueError("a merge ticket has no range to close; use merge_commit")


def _ended(bits: bytes, span: range) -> frozenset[int]:
    """Return the ended items of *span*; *bits* begins at the byte that holds its first item."""
    if not any(bits):
        return frozenset()
    offset = span.start // 8 * 8
    return frozenset(i for i in span if bits[(i - offset) // 8] >> (7 - i % 8) & 1)
