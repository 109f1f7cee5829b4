"""A refused object fails its item; a refused bucket fails no item."""

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore

from shared.errors import (
    BucketUnavailable,
    ObjectForbidden,
    ObjectRefused,
    RequestRefused,
    StoreUnavailable,
)
from worker.storage.item_ref import ItemRef
from worker.storage.source_reader import SourceReader


@pytest.fixture
def store():
    memory = MemoryStore()
    for key in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        memory.put("inbox", key, b"source", content_type="image/jpeg")
    return memory


def read(reader, key):
    item = ItemRef(job_id="j", sequence=7, spec=spec(), index=3, image_key=key)
    with reader.open(item) as source:
        return source.read()


def refuse(store, refused, code="AccessDenied"):
    def before(call, bucket, key):
        if refused(call, key):
            raise RequestRefused(f"{code} for {key}", bucket=bucket, operation=call, code=code)

    store.before = before


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", ObjectForbidden), ("403", ObjectForbidden), ("Odd", ObjectRefused)],
)
def test_one_refused_object_fails_its_item_when_another_key_can_be_read(store, code, kind):
    reader = SourceReader(store, max_bytes=100)
    read(reader, "a/2.jpg")
    refuse(store, lambda _, key: key == "a/1.jpg", code)

    with pytest.raises(kind, match=r"a/1\.jpg") as caught:
        read(reader, "a/1.jpg")
    assert caught.value.code == code


def test_rights_revoked_for_the_whole_bucket_fail_no_item(store):
    reader = SourceReader(store, max_bytes=100)
    read(reader, "a/2.jpg")
    refuse(store, lambda *_: True)

    with pytest.raises(BucketUnavailable):
        read(reader, "a/1.jpg")


def test_before_the_first_read_another_key_of_the_folder_is_asked_for(store):
    refuse(store, lambda call, key: key == "a/1.jpg" and call == "get")
    with pytest.raises(ObjectForbidden):
        read(SourceReader(store, max_bytes=100), "a/1.jpg")

    refuse(store, lambda call, _: call != "list")
    with pytest.raises(BucketUnavailable):
        read(SourceReader(store, max_bytes=100), "a/1.jpg")


def test_a_refused_object_that_is_alone_in_its_folder_fails_its_item(store):
    refuse(store, lambda call, _: call == "get")

    with pytest.raises(ObjectForbidden):
        read(SourceReader(store, max_bytes=100), "b/3.jpg")


def test_a_key_that_was_deleted_since_proves_nothing(store):
    reader = SourceReader(store, max_bytes=100)
    read(reader, "b/3.jpg")
    store.delete("inbox", ["b/3.jpg"])
    refuse(store, lambda call, key: call != "head" or key != "b/3.jpg")

    with pytest.raises(BucketUnavailable):
        read(reader, "a/1.jpg")


def test_a_store_that_does_not_answer_now_decides_nothing(store):
    reader = SourceReader(store, max_bytes=100)
    read(reader, "a/2.jpg")

    def before(call, _bucket, _key):
        raise (RequestRefused if call == "get" else StoreUnavailable)("no")

    store.before = before

    with pytest.raises(StoreUnavailable):
        read(reader, "a/1.jpg")
