"""A job's records from its accepted shards: in item order, the last record of an index wins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Shard = tuple[str, int]
"""Unit (`"a-b"`) and epoch of an accepted shard; see `shared.keys.shard_key`."""


def groups(accepted: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Yield the shards in groups whose ranges overlap, in item order.

    Within a group the order of acceptance is kept, as a later record replaces an earlier one.
    Without a retry every group is a single shard, so a reader holds one shard at a time.

    >>> list(groups([("4-8", 1), ("0-4", 1), ("2-4", 2)]))
    [[('0-4', 1), ('2-4', 2)], [('4-8', 1)]]
    """
    by_start = sorted(range(len(accepted)), key=lambda n: span(accepted[n]).start)
    group: list[int] = []
    stop = 0
    for n in by_start:
        if group and span(accepted[n]).start >= stop:
            yield [accepted[m] for m in sorted(group)]
            group = []
        group.append(n)
        stop = max(stop, span(accepted[n]).stop)
    if group:
        yield [accepted[m] for m in sorted(group)]


def span(shard: Shard) -> range:
    """Return the item indexes that a shard's unit covers."""
    return Ticket("shard", *shard).span


def overlay(bodies: Iterable[bytes]) -> list[str]:
    r"""Return the lines of one group's shards in item order, later bodies over earlier ones.

    >>> overlay([b'{"index":1,"a":0}\n{"index":0}\n', b'{"index":1,"a":9}\n'])
    ['{"index":0}', '{"index":1,"a":9}']
    """
    lines: dict[int, str] = {}
    for body in bodies:
        for line in body.decode().split("\n"):  # not splitlines: JSON may hold U+2028
            if line:
                lines[json.loads(line)["index"]] = line
    return [lines[index] for index in sorted(lines)]
