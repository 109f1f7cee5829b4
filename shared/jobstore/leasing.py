"""The worker's side: to claim tickets, record ends, and close ranges and jobs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from shared.errors import InvalidOption
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec, Json
from shared.job.ticket import Ticket
from shared.jobstore.connection import Connection, fence, issued_from, to_ms
from shared.jobstore.values import (
    Claim,
    ClaimAnswer,
    Closing,
    ClosingAnswer,
    Issued,
    ItemResult,
    Lease,
    MarkAnswer,
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
        asked = (ticket.job_id, ticket.unit, ticket.epoch, worker_id, owner, to_ms(ttl_s))
        word, *granted = self._run("claim", *asked)
        answer = ClaimAnswer(word.decode())
        if not granted:
            return Claim(answer=answer)
        queue, spec, sequence, generation, manifest, bits, attempts = granted
        lease = Lease(ticket, owner)
        return Claim(
            answer=answer,
            lease=lease,
            spec=self._read(spec, lease),
            sequence=sequence,
            generation=generation,
            ended=_ended(bits, ticket.span),
            queue=queue.decode(),
            attempts=dict(zip(attempts[::2], attempts[1::2], strict=True)),
            manifest=manifest.decode(),
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
        asked = [value for lease in leases for value in fence(lease)]
        return [leases[n] for n in self._run("beat", to_ms(ttl_s), *asked)]

    def mark(self, lease: Lease, results: Sequence[ItemResult]) -> MarkAnswer:
        """Record that items of the range have ended; all of them or, if the lease is lost, none.

        An item that has ended before is left as it was, so a repetition counts nothing twice.

        Raises:
            ValueError: If an item is not of the range.
        """
        asked: list[str | int] = []
        for result in results:
            if result.record.index not in lease.ticket.span:
                raise ValueError(f"item {result.record.index} is not of {lease.ticket.unit}")
            asked += _marking(result)
        buckets = (to_ms(self._rules.rate_bucket_s), self._rules.rate_buckets)
        answer = self._run("mark", *fence(lease), *buckets, *asked)
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
        return bool(self._run("trying", *fence(lease), index, record.to_json()))

    def finish_begin(self, lease: Lease) -> Closing:
        """Return what is recorded of the range, by whomever, for its shard.

        Raises:
            ValueError: If the lease is of a merge ticket, here and in `finish_commit`.
        """
        _refuse_merge(lease)
        word, *found = self._run("finish_begin", *fence(lease))
        answer = ClosingAnswer(word.decode())
        if answer is ClosingAnswer.LOST:
            return Closing(answer, complete=False, records=())
        complete, *pairs = found
        in_order = sorted(zip(map(int, pairs[::2]), pairs[1::2], strict=True))
        return Closing(answer, bool(complete), tuple(record.decode() for _, record in in_order))

    def finish_commit(self, lease: Lease) -> tuple[bool, list[Issued]]:
        """Accept the shard that was put since `finish_begin`; drop the ticket and its records.

        A shard without records is not listed. The job's last range issues its merge ticket.

        Returns:
            Whether it was accepted, and what to publish. False, and nothing happens, if the
            lease is lost, the range may not be closed, or records came since `finish_begin`.
        """
        _refuse_merge(lease)
        word, *flat = self._run("finish_commit", *fence(lease))
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
        kept = (to_ms(self._rules.keep_after_end_s), self._rules.events_kept)
        return bool(self._run("merge_commit", *fence(lease), *kept))

    def release(
        self, lease: Lease, *, delay_s: float = 0, waiting_for: str | None = None
    ) -> list[Issued]:
        """Give the ticket back; it is no death, and what is recorded stays recorded.

        It goes to `rmbg.recovery` (interactive and suspect ones to their own lanes), at once or
        after *delay_s*. Until a little after that, *waiting_for* is what the job waits for.
        """
        rest = (to_ms(delay_s), waiting_for or "", to_ms(self._rules.waiting_fresh_s))
        return issued_from(self._run("release", *fence(lease), *rest))


def _refuse_merge(lease: Lease) -> None:
    if lease.ticket.is_merge:
        raise ValueError("a merge ticket has no range to close; see merge_commit")


def _marking(result: ItemResult) -> tuple[int, str, str, str, str, int]:
    record = result.record
    error_class = (record.error or {}).get("class", "")
    verdict = result.verdict or ""
    return record.index, record.state, record.to_json(), error_class, verdict, record.attempts


def _ended(bits: Json, span: range) -> frozenset[int]:
    """Read a piece of the bitmap, which begins at the byte that holds the range's first item."""
    if not any(bits):
        return frozenset()
    offset = span.start // 8 * 8
    return frozenset(i for i in span if bits[(i - offset) // 8] >> (7 - i % 8) & 1)
