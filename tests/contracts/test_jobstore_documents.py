"""A job document that this version cannot read: its tickets wait and count no death."""

import json

import pytest
from support.jobs import feed, grant, submit

from shared.errors import InvalidOption


def later_field(document):
    return json.dumps(json.loads(document) | {"later": 1})


def later_schema(document):
    return json.dumps(json.loads(document) | {"schema": 99})


def without_a_field(document):
    return json.dumps({k: v for k, v in json.loads(document).items() if k != "input_bucket"})


@pytest.mark.parametrize(
    "change",
    [later_field, later_schema, without_a_field, lambda _: b"5", lambda _: b"\xff"],
    ids=["later field", "later schema", "without a field", "no object", "no text"],
)
def test_a_ticket_with_an_unreadable_job_document_is_released(store, redis_client, change):
    """The lease is already granted; if it expired, it would count as a death."""
    job = submit(store, 4)
    [issued] = feed(store)
    key = f"rmbg:job:{job}"
    document = redis_client.hget(key, "spec")
    redis_client.hset(key, "spec", change(document))

    with pytest.raises(InvalidOption, match=job):
        store.leases.claim(issued.ticket, "w", ttl_s=30)

    assert redis_client.zcard("rmbg:leased") == 0
    assert not redis_client.hexists(f"{key}:ticket:{issued.ticket.unit}", "deaths")
    assert b"can read its document" in redis_client.hget(key, "waiting_for")

    redis_client.hset(key, "spec", document)
    redis_client.zadd("rmbg:parked", dict.fromkeys(redis_client.zrange("rmbg:parked", 0, -1), 0))
    [again] = feed(store)
    assert grant(store, again).spec is not None
