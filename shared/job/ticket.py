"""A ticket: a pointer to a range of items; a lost or duplicated one does no harm."""

import re
from dataclasses import dataclass
from typing import Final, Self

from shared.errors import InvalidOption

MERGE: Final = "merge"
"""Unit of the ticket that merges a job's shards into its results."""
JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RANGE: Final = re.compile(r"(0|[1-9][0-9]{0,9})-([1-9][0-9]{0,9})")
_MAX_EPOCH: Final = 2**31


@dataclass(frozen=True, order=True)
class Ticket:
    """The content of a Celery message: `(job_id, unit, epoch)`."""

    job_id: str
    unit: str
    """`"a-b"` for a half-open range of item indexes, or `"merge"`."""
    epoch: int
    """How often this unit has been issued; a lower epoch is stale."""

    @property
    def is_merge(self) -> bool:
        """Whether this is the ticket that ends a job."""
        return self.unit == MERGE

    @property
    def span(self) -> range:
        """The item indexes of the range; empty for a merge ticket."""
        if self.is_merge:
            return range(0)
        start, stop = self.unit.split("-")
        return range(int(start), int(stop))

    def to_args(self) -> list[str | int]:
        """Return the message's arguments."""
        return [self.job_id, self.unit, self.epoch]

    @classmethod
    def from_args(cls, job_id: object, unit: object, epoch: object) -> Self:
        """Validate the arguments of a message, which may be hostile, and return the ticket.

        Raises:
            InvalidOption: If an argument is not valid.
        """
        if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
            raise InvalidOption("a ticket's job id must be 1 to 64 of A-Z a-z 0-9 . _ -")
        if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 < epoch < _MAX_EPOCH:
            raise InvalidOption("a ticket's epoch must be a positive integer")
        if not isinstance(unit, str) or not (unit == MERGE or _is_range(unit)):
            raise InvalidOption("a ticket's unit must be 'merge' or 'a-b' with a < b")
        return cls(job_id, unit, epoch)


def _is_range(unit: str) -> bool:
    found = _RANGE.fullmatch(unit)
    return found is not None and int(found[1]) < int(found[2])
