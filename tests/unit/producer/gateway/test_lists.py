"""Which lists are long, and the keys that an object lists."""

from datetime import UTC, datetime

import pytest

from producer.gateway.lists import is_long
from producer.gateway.schemas import JobRequest
from shared.access import ApiKey
from shared.errors import InvalidOption
from shared.objects.memory import MemoryStore

KEY = ApiKey(
    name="shop",
    tenant="shop",
    sha256="",
    bucket="inbox",
    prefix="shop",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def store_of(count, size_bytes=1):
    store = MemoryStore()
    for n in range(count):
        store.put("inbox", f"shop/{n}", b"x" * size_bytes, content_type="text/plain")
    return store


@pytest.mark.parametrize(("count", "expected"), [(10_000, False), (10_001, True)])
def test_a_prefix_is_long_from_10_001_objects_on(count, expected):
    assert is_long(store_of(count), KEY, JobRequest(prefix="shop/")) is expected


@pytest.mark.parametrize(("size_bytes", "expected"), [(2**20, False), (2**20 + 1, True)])
def test_an_object_is_long_above_a_mebibyte(size_bytes, expected):
    assert is_long(store_of(1, size_bytes), KEY, JobRequest(keys_from="shop/0")) is expected


@pytest.mark.parametrize("body", [{"prefix": "other/"}, {"keys_from": "other/a"}, {"keys": ["a"]}])
def test_what_is_not_below_the_prefix_of_the_key_is_not_read(body):
    with pytest.raises(InvalidOption, match="not below shop/"):
        is_long(store_of(0), KEY, JobRequest(**body))
