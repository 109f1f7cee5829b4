"""How many decoded pixels may be held at once."""

from __future__ import annotations

import heapq
import itertools
import threading

from worker.engine.thread_pool import Call, Rank


class PixelBudget:
    """Admits items while their pixels fit; the others wait here without holding a thread.

    Memory is bounded in pixels and not in items, so that thumbnails and pictures of 100
    megapixels both fit. A picture larger than the whole budget is admitted alone.
    """

    def __init__(self, budget_px: int) -> None:
        self._budget_px = budget_px
        self._held_px = 0
        self._waiting: list[tuple[Rank, int, int, Call]] = []
        self._count = itertools.count()
        self._lock = threading.Lock()

    @property
    def held_px(self) -> int:
        """Pixels admitted and not yet given back."""
        return self._held_px

    def admit(self, pixels: int, rank: Rank, call: Call) -> None:
        """Run *call* as soon as *pixels* fit: now, or in the thread of a later `release`."""
        with self._lock:
            heapq.heappush(self._waiting, (rank, next(self._count), pixels, call))
        self._dispatch()

    def release(self, pixels: int) -> None:
        """Give back what was admitted, and let in who fits now."""
        with self._lock:
            self._held_px -= pixels
        self._dispatch()

    def _dispatch(self) -> None:
        while (call := self._next()) is not None:
            call()

    def _next(self) -> Call | None:
        with self._lock:
            if not self._waiting:
                return None
            pixels = self._waiting[0][2]
            if self._held_px and self._held_px + pixels > self._budget_px:
                return None
            self._held_px += pixels
            return heapq.heappop(self._waiting)[3]
