"""Which buckets a worker may use."""

import pytest
from support.memory_store import MemoryStore

from shared.errors import BucketUnavailable
from worker.storage.bucket_guard import BucketGuard


@pytest.fixture
def asked():
    return []


@pytest.fixture
def store(asked):
    memory = MemoryStore()
    for bucket in ("inbox", "cutouts", "private"):
        memory.put(bucket, "k", b"secret", content_type="image/png")
    memory.before = lambda *call: asked.append(call)
    return BucketGuard(memory, inputs=("inbox",), output="cutouts")


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


def test_input_buckets_can_be_read_and_the_output_bucket_read_and_written(store):
    assert store.get("inbox", "k").data == b"secret"
    for call in [*reads(store, "inbox"), *reads(store, "cutouts"), *writes(store, "cutouts")]:
        call()


def test_input_buckets_cannot_be_written(store, asked):
    for call in writes(store, "inbox"):
        with pytest.raises(BucketUnavailable, match="inbox is not the RMBG_OUTPUT_BUCKET"):
            call()
    assert asked == []


def test_any_other_bucket_cannot_be_read_written_or_signed(store, asked):
    for call in [
        *reads(store, "private"),
        *writes(store, "private"),
        lambda: store.sign("private", "k", expires_s=60),
    ]:
        with pytest.raises(BucketUnavailable, match="private is not"):
            call()
    assert asked == []
