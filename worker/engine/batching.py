"""Gather items into batches by count and wait. A plain data structure: its owner locks."""

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.engine.item import Rank

T = TypeVar("T")


@dataclass
class _Gathering(Generic[T]):
    """Items of one model that wait for a batch."""

    max_items: int
    items: list[tuple[Rank, T]] = field(default_factory=list)
    since_s: float = 0.0


class Batcher(Generic[T]):
    """Batches of items that share a key (the model), urgent items first.

    A batch is ready when it is full, when its first item has waited *max_wait_s*, or when the
    caller says that nothing else is on its way. Pixels need no bound here: items that wait have
    the size of the network's input already, and decoded images are bounded by permits.
    """

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._gathering: dict[Hashable, _Gathering[T]] = {}

    def __len__(self) -> int:
        """Return how many items wait."""
        return sum(len(gathering.items) for gathering in self._gathering.values())

    def __iter__(self) -> Iterator[T]:
        """Return the items that wait, in no particular order."""
        for gathering in self._gathering.values():
            yield from (item for _, item in gathering.items)

    def add(self, key: Hashable, item: T, *, rank: Rank, max_items: int, now_s: float) -> None:
        """Add one item, whose *rank* is its own; *max_items* is the batch size of its model."""
        gathering = self._gathering.setdefault(key, _Gathering(max_items))
        if not gathering.items:
            gathering.since_s = now_s
        gathering.max_items = max_items
        heapq.heappush(gathering.items, (rank, item))

    def take(self, now_s: float, *, hurry: bool = False, only_full: bool = False) -> list[T]:
        """Remove and return the batch that should run now, or an empty list.

        With *hurry* (nothing more is coming) an unfilled batch does not wait; with *only_full* it
        does, however long. Of several batches that are ready, the one with the most urgent, then
        the oldest, item goes first.
        """
        ready = [
            (gathering.items[0][0], key)
            for key, gathering in self._gathering.items()
            if len(gathering.items) >= gathering.max_items
            or (not only_full and (hurry or now_s - gathering.since_s >= self._max_wait_s))
        ]
        if not ready:
            return []
        key = min(ready, key=lambda found: found[0])[1]
        gathering = self._gathering[key]
        size = min(gathering.max_items, len(gathering.items))
        batch = [heapq.heappop(gathering.items)[1] for _ in range(size)]
        gathering.since_s = now_s
        if not gathering.items:
            del self._gathering[key]
        return batch

    def wait_s(self, now_s: float) -> float | None:
        """Return the seconds until a batch has waited long enough; None when nothing waits."""
        ends = [each.since_s + self._max_wait_s for each in self._gathering.values()]
        return max(0.0, min(ends) - now_s) if ends else None
