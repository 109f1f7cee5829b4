"""Entries that become due after a delay. A plain data structure: its owner locks and waits."""

import heapq
import itertools
from typing import Generic, TypeVar

T = TypeVar("T")


class DelayQueue(Generic[T]):
    """Entries in the order in which they are due, times in seconds of the owner's clock."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, T]] = []
        self._count = itertools.count()
        self._is_hurried = False

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: T, due_s: float) -> None:
        """Add *entry*, which is due at *due_s*."""
        heapq.heappush(self._entries, (due_s, next(self._count), entry))

    def pop_due(self, now_s: float) -> list[T]:
        """Remove and return the entries that are due, the earliest first."""
        due: list[T] = []
        while self._entries and (self._is_hurried or self._entries[0][0] <= now_s):
            due.append(heapq.heappop(self._entries)[2])
        return due

    def wait_s(self, now_s: float) -> float | None:
        """Return the seconds until the next entry is due; None without entries."""
        return max(0.0, self._entries[0][0] - now_s) if self._entries else None

    def hurry(self) -> None:
        """Make every entry due at once, later ones too: the process is leaving."""
        self._is_hurried = True
