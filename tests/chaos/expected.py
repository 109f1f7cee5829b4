"""What operations on jobs change about the expected end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.job.record import ItemRecord


@dataclass
class Expected:
    """Expectations that operations add, and what they have seen go wrong on the way."""

    failures: dict[str, str] = field(default_factory=dict)
    """Keys of the items that must fail, with the class of their error."""
    cancelled: dict[str, float] = field(default_factory=dict)
    """Cancelled jobs, and when each was seen to be settled (monotonic clock)."""
    generations: dict[str, int] = field(default_factory=dict)
    """Generation at the end, of jobs that were opened again."""
    deleted: set[str] = field(default_factory=set)
    """Paths of outputs that were deleted once: each must be written twice."""
    replaced: set[str] = field(default_factory=set)
    """Paths of the other output of such an item: it may be written twice."""
    blamed_before: int = 0
    """Items that ended with an unexpected error in an earlier generation."""
    commands_lost: int = 0
    """Commands that exited with 0 and had no effect, although Redis lost nothing."""
    command_errors: int = 0
    """Commands that ended with an unexpected exit code."""
    unclear_messages: int = 0
    """Failovers in which the error of a producer did not name the read-only replica."""

    orphans: int = 0
    """Workers that outlived their supervisor."""

    def writes(self, path: str) -> tuple[int, int]:
        """Return how often an output must and how often it may have been written."""
        return (2 if path in self.deleted else 1, 2 if path in self.deleted | self.replaced else 1)


def is_wrongly_blamed(record: ItemRecord, failures: Mapping[str, str]) -> bool:
    """Return whether an item ended otherwise than *failures* (error classes by key) say."""
    return (record.error or {}).get("class") != failures.get(record.image_key)
