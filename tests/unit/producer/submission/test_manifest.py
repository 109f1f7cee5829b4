"""Staging of a job's image keys."""

from types import SimpleNamespace

import pytest

from producer.submission.manifest import stage
from shared.job.keys import manifest_key
from shared.job.manifest import CHUNK_KEYS, unpack
from shared.jobstore.rules import Rules
from shared.objects.memory import MemoryStore


class Staging:
    """A job store that keeps staged chunks in a dictionary."""

    def __init__(self, keys_in_redis):
        self.rules = Rules(keys_in_redis=keys_in_redis)
        self.submissions = SimpleNamespace(stage=self.stage)
        self.chunks = {}

    def stage(self, nonce, first, chunks):
        self.chunks |= {(nonce, first + n): chunk for n, chunk in enumerate(chunks)}


@pytest.mark.parametrize(
    ("keys_in_redis", "in_redis"), [(1, 1), (CHUNK_KEYS, 1), (CHUNK_KEYS + 1, 2), (10**6, 3)]
)
def test_the_bucket_stores_the_chunks_above_the_limit_of_redis(keys_in_redis, in_redis):
    """The limit is one of the rules of the job store; a chunk is never split."""
    keys = [f"{n}.jpg" for n in range(2 * CHUNK_KEYS + 1)]
    store, objects = Staging(keys_in_redis), MemoryStore()

    staged = stage(keys, "n", store=store, objects=objects, bucket="cutouts")

    assert staged.total == len(keys)
    assert sorted(store.chunks) == [("n", number) for number in range(in_redis)]
    further = [objects.get("cutouts", manifest_key("n", n)).data for n in range(in_redis, 3)]
    assert [key for chunk in (*store.chunks.values(), *further) for key in unpack(chunk)] == keys


def test_nothing_is_written_without_keys():
    store, objects = Staging(10**6), MemoryStore()

    staged = stage([], "n", store=store, objects=objects, bucket="cutouts")

    assert staged.total == 0
    assert (store.chunks, list(objects.list("cutouts", ""))) == ({}, [])
