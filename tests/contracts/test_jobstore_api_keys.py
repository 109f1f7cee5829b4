"""API keys, their requests, and the jobs of tenants in the job store."""

from datetime import UTC, datetime

import pytest
from support.jobs import stage, submission, submit

from shared.access import ApiKey, digest, name_in, new_text
from shared.errors import TooManyOpen


def key(name="shop", **details):
    given = {"tenant": name, "sha256": digest("x"), "bucket": "inbox"}
    return ApiKey(**given | details, name=name, created_at=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_key_is_stored_once_and_found_by_its_name(store):
    assert store.api_keys.add(key())
    assert not store.api_keys.add(key(tenant="other"))
    store.api_keys.add(key("a.b"))

    assert store.api_keys.find("shop") == key()
    assert store.api_keys.find("none") is None
    assert [each.name for each in store.api_keys.all()] == ["a.b", "shop"]
    assert store.api_keys.revoke("shop")
    assert not store.api_keys.revoke("shop")


def test_a_key_of_a_later_version_is_read_and_an_unreadable_one_is_left_out(store, redis_client):
    later = key().model_dump_json()[:-1] + ',"colour":"red"}'
    redis_client.hset("rmbg:api_keys", "shop", later)
    redis_client.hset("rmbg:api_keys", "broken", "{}")

    assert store.api_keys.all() == [key()]
    assert store.api_keys.find("broken") is None


def test_redis_never_holds_the_secret(store, redis_client):
    text = new_text("shop")
    store.api_keys.add(key(sha256=digest(text)))

    stored = redis_client.hget("rmbg:api_keys", "shop").decode()
    assert text.rpartition(".")[2] not in stored
    assert name_in(text) == "shop"
    assert store.api_keys.find("shop").matches(text)
    assert not store.api_keys.find("shop").matches(text + "x")


def test_requests_are_counted_and_come_back_evenly(store, redis_client):
    limited = key(rate_per_minute=2)
    quotas = [store.api_keys.count_request(limited) for _ in range(3)]

    assert [each.is_allowed for each in quotas] == [True, True, False]
    assert [each.left for each in quotas] == [1, 0, 0]
    assert 29 <= quotas[2].reset_s <= 30
    at = int(redis_client.get("rmbg:requests:shop"))
    redis_client.set("rmbg:requests:shop", at - 30_000)  # as if 30 s had passed
    assert store.api_keys.count_request(limited).is_allowed
    assert not store.api_keys.count_request(limited).is_allowed


def test_the_count_of_requests_expires(store, redis_client):
    store.api_keys.count_request(key(rate_per_minute=60))

    assert 0 < redis_client.pttl("rmbg:requests:shop") <= 1000


def test_jobs_of_a_tenant_are_paged_and_forgotten_ones_dropped(store, redis_client):
    jobs = [submit(store, 1, keys=str(n), tenant="shop") for n in range(4)]
    submit(store, 1, keys="other", tenant="else")
    submit(store, 1, keys="shell")
    redis_client.delete(f"rmbg:job:{jobs[2]}")

    first, following = store.queries.jobs_of("shop", count=2)
    second, last = store.queries.jobs_of("shop", before=following, count=2)

    assert [each.job_id for each in first + second] == [jobs[3], jobs[1], jobs[0]]
    assert last == 0
    assert redis_client.zcard("rmbg:tenant:shop:jobs") == 3


def test_a_submission_over_the_open_images_of_its_tenant_is_refused(store, redis_client):
    submit(store, 3, keys="1", tenant="shop")
    more = submission(3, keys="2", tenant="shop")
    stage(store, more)

    with pytest.raises(TooManyOpen, match="shop has 3 images in progress and may have 5"):
        store.submissions.submit(_limited(more, 5))

    assert not redis_client.exists(f"rmbg:staged:{more.manifest}")
    stage(store, more)
    assert store.submissions.submit(_limited(more, 6)).created


def _limited(wanted, most_open):
    return type(wanted)(**{**vars(wanted), "most_open": most_open})
