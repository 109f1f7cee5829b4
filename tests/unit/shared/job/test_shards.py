"""A job's records from its shards: which line of an item counts, and how many are held."""

import json
import random
import tracemalloc

import pytest

from shared.errors import ObjectMissing
from shared.job.shards import span, sweep

ITEMS = 40_000
PADDING = "x" * 700
"""A record of two outputs with long keys is about 800 bytes long."""


def line(index, generation):
    return json.dumps({"index": index, "generation": generation, "padding": PADDING})


def shard_of(start, stop, epoch):
    return f"{start}-{stop}", epoch


def cut(total, sizes, epoch):
    """Cut all items into shards of *sizes*, in turn."""
    shards, start = [], 0
    while start < total:
        stop = min(start + sizes[len(shards) % len(sizes)], total)
        shards.append(shard_of(start, stop, epoch))
        start = stop
    return shards


class Shards:
    """Shards of generations, made when they are read; `most_held` lines were out at a time."""

    def __init__(self, *, retried=lambda index: True):
        self._retried = retried
        self._out = set()
        self.most_held = 0

    def read(self, shard):
        generation = shard[1]
        indexes = [i for i in span(shard) if generation == 1 or self._retried(i)]
        self._out.update(indexes)
        self.most_held = max(self.most_held, len(self._out))
        return "".join(f"{line(i, generation)}\n" for i in indexes).encode()

    def swept(self, accepted):
        for text in sweep(accepted, self.read):
            record = json.loads(text)
            self._out.remove(record["index"])
            yield record["index"], record["generation"]


FIRST = cut(ITEMS, [16] * 50 + [256] * 50, 1)


@pytest.mark.parametrize(
    ("again", "retried", "most"),
    [
        pytest.param(cut(ITEMS, [250], 2), lambda i: True, 512, id="all"),
        pytest.param(cut(ITEMS, [4096], 2), lambda i: i % 20 == 0, 768, id="one in twenty"),
        pytest.param([], lambda i: True, 256, id="none"),
    ],
)
def test_however_much_was_redone_few_lines_are_held_at_a_time(again, retried, most):
    """Ranges of a retry share no bounds with the first ones, so their overlaps chain."""
    shards = Shards(retried=retried)

    swept = list(shards.swept(FIRST + again))

    assert swept == [(i, 2 if again and retried(i) else 1) for i in range(ITEMS)]
    assert shards.most_held <= most


def test_what_has_been_yielded_is_let_go():
    shards = Shards()
    walk = shards.swept(FIRST + cut(ITEMS, [250], 2))
    next(walk)

    tracemalloc.start()
    for _ in walk:
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < ITEMS * len(PADDING) / 10


@pytest.mark.parametrize("seed", range(20))
def test_the_record_accepted_last_counts_whatever_the_ranges_are(seed):
    rng = random.Random(seed)
    accepted, expected = [], {}
    for epoch in range(1, 40):
        start = rng.randrange(90)
        shard = shard_of(start, start + rng.randint(1, 30), epoch)
        accepted.append(shard)
        expected |= dict.fromkeys(span(shard), epoch)

    assert list(Shards().swept(accepted)) == sorted(expected.items())


def test_lines_that_are_certain_are_yielded_before_a_shard_is_missed():
    def read(shard):
        if shard[1] == 3:
            raise ObjectMissing("gone")
        return "".join(f"{line(i, 1)}\n" for i in span(shard)).encode()

    walk = sweep([("0-4", 1), ("2-6", 2), ("4-8", 3)], read)

    assert [json.loads(next(walk))["index"] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ObjectMissing):
        next(walk)


def test_a_line_ends_at_a_line_feed_alone():
    """JSON may hold other ends of lines as they are."""
    text = '{"index":0,"key":"a\u2028b\x85c"}'

    assert list(sweep([("0-1", 1)], lambda shard: f"{text}\n".encode())) == [text]


def test_without_shards_there_is_nothing():
    assert list(sweep([], lambda shard: b"")) == []
