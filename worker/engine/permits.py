"""Permits for what items hold in memory: decoded pixels, or bytes of encoded images."""

import heapq
import threading

from worker.engine.item import Rank, is_urgent
from worker.engine.stage import Step


class Permits:
    """Grants amounts up to a limit; requests that do not fit wait here and hold no thread.

    Memory is bounded in pixels and bytes and not in items, so that thumbnails and images of 100
    megapixels both fit. A request above the whole limit is granted when nothing else is held. Safe
    to use from several threads.

    Args:
        limit: The limit.
        urgent_exceed: Whether an urgent request is granted while no more than the limit is held,
            so that it waits for no other item; at most one request then exceeds the limit.
    """

    def __init__(self, limit: int, *, urgent_exceed: bool = False) -> None:
        self._limit = limit
        self._urgent_exceed = urgent_exceed
        self.held = 0
        """What is granted and not released."""
        self._waiting: list[tuple[Rank, int, Step]] = []
        self._lock = threading.Lock()

    def request(self, holder: Step, amount: int, rank: Rank) -> list[tuple[Step, int]]:
        """Ask for *amount*; return the requests that are granted now, this one or others.

        Requests are granted in order of *rank*, so a large one is not overtaken for ever.
        """
        with self._lock:
            heapq.heappush(self._waiting, (rank, amount, holder))
            return self._grant()

    def try_raise(self, held: int, amount: int, rank: Rank) -> bool:
        """Raise *held* of a holder to *amount* if that is granted at once; return whether it is.

        It is not while a request of a lower *rank* waits.
        """
        with self._lock:
            is_first = not self._waiting or rank < self._waiting[0][0]
            if not (is_first and self._fits(amount, self.held - held)):
                return False
            self.held += amount - held
            return True

    def take(self, amount: int) -> None:
        """Count *amount* that is in memory already, above the limit if need be."""
        with self._lock:
            self.held += amount

    def release(self, amount: int) -> list[tuple[Step, int]]:
        """Release *amount*; return the requests that are granted because of it."""
        with self._lock:
            self.held -= amount
            return self._grant()

    def waiting(self) -> list[Step]:
        """Return the holders of all requests that wait."""
        with self._lock:
            return [holder for *_, holder in self._waiting]

    def withdraw(self) -> list[Step]:
        """Remove and return the holders of all requests that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return [holder for *_, holder in waiting]

    def _grant(self) -> list[tuple[Step, int]]:
        granted: list[tuple[Step, int]] = []
        while self._waiting and self._may_grant(*self._waiting[0][:2]):
            _, amount, holder = heapq.heappop(self._waiting)
            self.held += amount
            granted.append((holder, amount))
        return granted

    def _may_grant(self, rank: Rank, amount: int) -> bool:
        is_within = self.held <= self._limit
        exceeds = self._urgent_exceed and is_urgent(rank) and is_within
        return exceeds or self._fits(amount, self.held)

    def _fits(self, amount: int, held: int) -> bool:
        return not held or held + amount <= self._limit
