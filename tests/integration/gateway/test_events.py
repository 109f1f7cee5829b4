"""`GET /v1/jobs/{id}/events`: what listeners are told, and what listening costs."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import redis
from support.until import until

pytestmark = pytest.mark.integration
LISTENERS = 300


@dataclass(frozen=True)
class Event:
    """One event as a browser reads it."""

    name: str
    data: dict
    id: str | None


def parsed(lines):
    """Yield the events of a stream."""
    fields = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "event" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


@contextmanager
def listening(client, job, last=None):
    """Open a stream; yield an iterator over its events."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield parsed(stream.iter_lines())


@pytest.fixture
def job(shop, hand):
    """A job of 40 images, two of which fail; no worker has begun."""
    keys = [f"shop/{n}{'bad' * (n in (3, 30))}.jpg" for n in range(40)]
    answer = shop.post("/v1/jobs", json={"keys": keys, "model": "RMBG-1.4"})
    assert answer.status_code == 201, answer.text
    return answer.json()["job_id"]


def test_a_listener_is_told_every_item_and_the_end(shop, job, hand):
    with listening(shop, job) as events:
        first = next(events)
        hand.run(job)
        told = list(events)

    assert (first.name, first.id, first.data["total"]) == ("progress", "1.0", 40)
    items = [each for each in told if each.name == "item"]
    assert [each.id for each in items] == [f"1.{n}" for n in range(1, 41)]
    assert sorted(each.data["index"] for each in items) == list(range(40))
    assert {each.data["error"] for each in items} == {None, "ObjectMissing"}
    assert [each.name for each in told if each.name not in ("item", "progress")] == ["done"]
    assert (told[-1].name, told[-1].data["state"]) == ("done", "done")


def test_a_listener_that_comes_back_gets_what_it_has_missed(shop, job, hand):
    with listening(shop, job) as events:
        assert next(events).id == "1.0"
        begun = [hand.begin(5)]
        before = [next(e for e in events if e.name == "item") for _ in range(3)]
    begun.append(hand.begin(4))  # nobody listens, but somebody has within the last 30 s

    with listening(shop, job, before[-1].id) as events:
        missed = [next(events) for _ in range(7)]
        for each in begun:
            hand.process(each)
        hand.run(job)
        rest = [each for each in events if each.name == "item"]

    assert [each.name for each in missed] == ["item"] * 6 + ["progress"]
    ids = [each.id for each in [*before, *missed[:6], *rest]]
    assert ids == [f"1.{n}" for n in range(1, 41)]


@pytest.mark.parametrize("last", ["1.1", "1.99", "7.1", "nonsense"])
def test_an_id_that_is_gone_gets_a_reset(last, shop, job, hand):
    begun = hand.begin(5)  # nobody listens

    with listening(shop, job, last) as events:
        reset = next(events)
        hand.process(begun)
        hand.run(job)
        rest = list(events)

    assert (reset.name, reset.id) == ("reset", "1.5")
    assert (reset.data["cursor"], reset.data["status"]["done"]) == (0, 4)
    assert next(each.id for each in rest if each.name == "item") == "1.6"
    assert rest[-1].name == "done"


def test_the_stream_of_an_ended_job_is_its_end_and_then_nothing(shop, job, hand):
    hand.run(job)

    with listening(shop, job) as events:
        first, last = events
    again = shop.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": first.id})

    assert (first.name, first.id, last.name) == ("progress", "1.40", "done")
    assert again.status_code == 204  # a browser does not come back


def test_nothing_is_written_for_a_job_to_which_nobody_listens(shop, job, hand, service_settings):
    hand.run(job)

    with redis.Redis.from_url(service_settings.store_url) as client:
        assert client.keys("*:told") == []


def test_no_tenant_listens_to_the_job_of_another(job, new_key, client_of):
    assert client_of(new_key("other")).get(f"/v1/jobs/{job}/events").status_code == 404


def test_a_revoked_key_ends_its_streams(shop, job, gateway):
    with listening(shop, job) as events:
        next(events)
        gateway.services.jobs.api_keys.revoke("shop")

        assert all(each.name == "progress" for each in events)  # and then there is no more


def test_a_job_that_redis_has_lost_ends_its_streams(shop, job, service_settings):
    with listening(shop, job) as events:
        next(events)
        with redis.Redis.from_url(service_settings.store_url) as client:
            client.delete(f"rmbg:job:{job}")

        assert [each.name for each in events][-1] == "gone"


@pytest.fixture
def crowd(new_key, address):
    """An HTTP client of the same tenant that opens any number of connections."""
    key = new_key("many", tenant="shop", rate_per_minute=60_000)
    headers, limits = {"Authorization": f"Bearer {key}"}, httpx.Limits(max_connections=None)
    with httpx.Client(base_url=address, headers=headers, limits=limits, timeout=120) as client:
        yield client


def test_many_listeners_share_one_poll(crowd, job, hand, service_settings, gateway):
    ends, threads = [], []

    def listen():
        with listening(crowd, job) as events:
            ends.append([each.name for each in events][-1])

    for _ in range(LISTENERS):
        threads.append(threading.Thread(target=listen))
        threads[-1].start()
    until(lambda: listeners_of(gateway, job) == LISTENERS, within_s=60)
    polls = polls_of(service_settings)
    hand.run(job)
    for each in threads:
        each.join(60)

    assert ends == ["done"] * LISTENERS
    assert polls <= 40, "one read for each listener"
    until(lambda: listeners_of(gateway, job) == 0)


def listeners_of(gateway, job):
    watch = gateway.streams._watched.get(job)
    return len(watch.listeners) if watch else 0


def polls_of(settings):
    """Return the number of reads of a stream while a second passes."""
    with redis.Redis.from_url(settings.store_url) as client, client.monitor() as monitor:
        seen, begin = 0, None
        for command in monitor.listen():
            begin = begin or command["time"]
            if command["time"] > begin + 3:
                return seen
            seen += command["command"].startswith("XREAD")
    return None
