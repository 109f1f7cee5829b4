"""Merge the records of a job's accepted shards."""

import json
from collections.abc import Callable, Iterator, Sequence

from shared.job.ticket import Ticket

Shard = tuple[str, int]
"""Unit (`"a-b"`) and epoch of an accepted shard; see `shared.job.keys.shard_key`."""


def sweep(accepted: Sequence[Shard], read: Callable[[Shard], bytes]) -> Iterator[str]:
    r"""Yield the records of all shards in item order; the last accepted record of an item wins.

    Shards are read one at a time, ordered by the start of their range. Memory holds the records
    of one range, or after a retry those of the ranges that overlap.

    Args:
        accepted: Shards in order of acceptance. Ranges may overlap, as after a retry.
        read: Returns a shard's lines; empty if it is missing. An error from it passes through
            after all lines that no later shard can replace.

    >>> bodies = {1: b'{"index":1,"a":0}\n{"index":0}\n', 2: b'{"index":1,"a":9}\n'}
    >>> list(sweep([("0-2", 1), ("1-2", 2)], lambda shard: bodies[shard[1]]))
    ['{"index":0}', '{"index":1,"a":9}']
    """
    held: dict[int, tuple[int, str]] = {}
    for n in sorted(range(len(accepted)), key=lambda n: span(accepted[n]).start):
        yield from _taken_below(span(accepted[n]).start, held)
        for line in read(accepted[n]).decode().split("\n"):  # not splitlines: JSON may hold U+2028
            if line:
                index = json.loads(line)["index"]
                if held.get(index, (n, ""))[0] <= n:
                    held[index] = (n, line)
    yield from _taken_below(None, held)


def span(shard: Shard) -> range:
    """Return the item indexes that a shard's unit covers."""
    return Ticket("shard", *shard).span


def _taken_below(stop: int | None, held: dict[int, tuple[int, str]]) -> Iterator[str]:
    """Remove the lines of indexes below *stop* (None: all) from *held*; yield them in order."""
    for index in sorted(index for index in held if stop is None or index < stop):
        yield held.pop(index)[1]
