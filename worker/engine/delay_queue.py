"""Steps that become due after a delay. A plain data structure: its owner locks and waits."""

import heapq
import itertools

from worker.engine.stage import Step


class DelayQueue:
    """Steps in the order in which they are due, times in seconds of the owner's clock."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Step]] = []
        self._count = itertools.count()
        self._is_hurried = False

    def push(self, step: Step, due_s: float) -> None:
        """Add *step*, which is due at *due_s*."""
        heapq.heappush(self._entries, (due_s, next(self._count), step))

    def pop_due(self, now_s: float) -> list[Step]:
        """Remove and return the steps that are due, the earliest first."""
        due: list[Step] = []
        while self._entries and (self._is_hurried or self._entries[0][0] <= now_s):
            due.append(heapq.heappop(self._entries)[2])
        return due

    def wait_s(self, now_s: float) -> float | None:
        """Return the seconds until the next step is due; None without steps."""
        return max(0.0, self._entries[0][0] - now_s) if self._entries else None

    def hurry(self) -> None:
        """Make every step due at once, later ones too: the process is leaving."""
        self._is_hurried = True
