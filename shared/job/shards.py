"""A job's records from its accepted shards: in item order, the last record of an index wins."""

import json
from collections.abc import Callable, Iterator, Sequence

from shared.job.ticket import Ticket

Shard = tuple[str, int]
"""Unit (`"a-b"`) and epoch of an accepted shard; see `shared.job.keys.shard_key`."""


def sweep(accepted: Sequence[Shard], read: Callable[[Shard], bytes]) -> Iterator[str]:
    r"""Yield the records of all shards in item order; of two of an item the one accepted last.

    Shards are read one after the other, in the order in which their ranges begin. A line is held
    from then until no shard is left that could replace it or come before it: so what is held at a
    time is the records of one range, or after a retry those of the ranges that overlap there.

    Args:
        accepted: In order of acceptance. Their ranges may overlap, as those of a retry do.
        read: Returns a shard's lines, or nothing for one that is gone; what it raises ends the
            sweep, after the lines that were certain by then.

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
    """Take the lines of indexes below *stop*, or all, out of *held*; yield them in order."""
    for index in sorted(index for index in held if stop is None or index < stop):
        yield held.pop(index)[1]
