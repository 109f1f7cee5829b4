"""What a worker may ask of the object store, whatever a job says."""

import pytest
from support.memory_store import MemoryStore

from shared.errors import BucketUnavailable
from worker.storage.bucket_guard import ConfinedStore


@pytest.fixture
def asked():
    return []


@pytest.fixture
def store(asked):
    memory = MemoryStore()
    for bucket in ("inbox", "cutouts", "private"):
        memory.put(bucket, "k", b"secret", content_type="image/png")
    memory.before = lambda *call: asked.append(call)
    return ConfinedStore(memory, inputs=("inbox",), output="cutouts")


def reads(store, bucket):
    return [
        lambda: store.get(bucket, "k"),
        lambda: store.head(bucket, "k"),
        lambda: list(store.list(bucket, "")),
        lambda: store.check(bucket),
    ]


def writes(store, bucket):
    return [
        lambda: store.put(bucket, "k", b"x", content_type="image/png"),
        lambda: store.delete(bucket, ["k"]),
    ]


def test_inputs_and_outputs_are_read_and_outputs_written(store):
    assert store.get("inbox", "k").data == b"secret"
    for call in [*reads(store, "inbox"), *reads(store, "cutouts"), *writes(store, "cutouts")]:
        call()


def test_nothing_is_written_to_an_input(store, asked):
    for call in writes(store, "inbox"):
        with pytest.raises(BucketUnavailable, match="inbox is not the RMBG_OUTPUT_BUCKET"):
            call()
    assert asked == []


def test_another_bucket_is_neither_read_nor_written_nor_signed(store, asked):
    for call in [
        *reads(store, "private"),
        *writes(store, "private"),
        lambda: store.sign("private", "k", expires_s=60),
    ]:
        with pytest.raises(BucketUnavailable, match="private is not"):
            call()
    assert asked == []
