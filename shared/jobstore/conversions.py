"""Convert values to script arguments, and script replies to values."""

from __future__ import annotations

from collections.abc import Iterable

from shared.job.record import ItemRecord
from shared.job.spec import Json
from shared.job.ticket import Ticket
from shared.jobstore.loader import Arg
from shared.jobstore.rules import Rules
from shared.jobstore.values import Issued, Lease


def fence(lease: Lease) -> dict[str, Arg]:
    """Return the arguments by which scripts check a lease."""
    ticket = lease.ticket
    return {"job": ticket.job_id, "unit": ticket.unit, "epoch": ticket.epoch, "owner": lease.owner}


def death_limits(rules: Rules) -> dict[str, Arg]:
    """Return the arguments by which scripts judge the death of a worker."""
    return {"suspect_deaths": rules.suspect_deaths, "item_deaths": rules.item_deaths}


def issued_from(flat: Iterable[Json]) -> list[Issued]:
    """Return the tickets that a script issued: job, unit, epoch, queue, ..."""
    walk = iter(flat)
    return [
        Issued(Ticket(job.decode(), unit.decode(), int(epoch)), queue.decode())
        for job, unit, epoch, queue in zip(walk, walk, walk, walk, strict=True)
    ]


def marking(record: ItemRecord) -> tuple[int, str, str, str, str, int]:
    """Return a row of the script `mark`."""
    error_class = (record.error or {}).get("class", "")
    verdict = record.verdict or ""
    return record.index, record.state, record.to_json(), error_class, verdict, record.attempts


def ended_items(bits: bytes, span: range) -> frozenset[int]:
    """Return the ended items of *span*; *bits* begins at the byte that holds its first item."""
    if not any(bits):
        return frozenset()
    offset = span.start // 8 * 8
    return frozenset(i for i in span if bits[(i - offset) // 8] >> (7 - i % 8) & 1)
