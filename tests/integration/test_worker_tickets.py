"""What is done with a ticket when something is away: the real job store, a store in memory."""

import json
from dataclasses import replace
from threading import Thread

import pytest
from support.jobs import feed, grant
from support.stand_ins import Valve, quick_stations
from support.until import until

from shared.broker.queues import BULK, RECOVERY, SUSPECT
from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable, WeightsInvalid
from shared.job.keys import report_key, results_key
from shared.job.spec import ImageOutput
from worker.consumer import finisher as closing
from worker.consumer import ticket_consumer as tickets
from worker.consumer.merge import MAX_SHOWN_PX

pytestmark = pytest.mark.integration


def test_a_ticket_is_worked_off_sharded_and_merged(desk):
    job_id = desk.submit(20)

    desk.run()

    assert desk.store.queries.status(job_id).done == 20
    assert desk.store.queries.status(job_id).finished_at is not None
    lines = desk.objects.get("cutouts", results_key(job_id)).data.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(20))
    assert desk.objects.head("cutouts", report_key(job_id)) is not None
    assert len(desk.leases) == 0


@pytest.mark.parametrize("script", ["finish_begin", "finish_commit", "mark"])
def test_a_ticket_is_closed_when_redis_comes_back(desk, script):
    """Left to its lease, it would count as a death; after two the range is suspect."""
    job_id = desk.submit(4)
    desk.connection.failing = [script]

    desk.run()

    assert desk.store.queries.status(job_id).finished_at is not None


def test_a_ticket_that_cannot_be_read_is_given_back(desk):
    job_id = desk.submit(4)
    chunk, real = [], desk.store.queries.manifest_chunk

    def away_once(*given):
        if not chunk:
            chunk.append(given)
            raise RedisUnavailable("made up")
        return real(*given)

    desk.store.queries.manifest_chunk = away_once
    desk.serve()

    assert desk.deaths(job_id) == [None]
    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [(BucketUnavailable("no bucket"), "bucket: no bucket"), (StoreUnavailable("busy"), None)],
    ids=["bucket", "store"],
)
def test_a_manifest_that_cannot_be_had_now_gives_the_ticket_back(desk, fault, said):
    job_id = desk.submit(4)
    desk.store.connection.client.delete(f"rmbg:job:{job_id}:manifest")  # as if it lay in the bucket
    desk.line.fail_store("get", times=1, error=fault)

    desk.serve()

    assert desk.waiting_for(job_id) == said
    assert desk.deaths(job_id) == [None]
    assert desk.placed("leased") == 0


def test_a_model_that_is_refused_gives_the_ticket_back_unblamed(desks):
    def load(name):
        raise WeightsInvalid(f"{name}: none")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert desk.store.queries.status(job_id).failed == 0
    assert desk.deaths(job_id) == [None]
    assert desk.placed("parked") == 1


@pytest.mark.parametrize("key", ["shards/", "results.jsonl", "report.html"])
@pytest.mark.parametrize(
    "fault", [BucketUnavailable("no bucket"), StoreUnavailable("busy")], ids=["bucket", "store"]
)
def test_documents_that_cannot_be_put_now_are_put_later(desk, key, fault, monkeypatch):
    monkeypatch.setattr(tickets, "RETRY_S", 0.05)
    monkeypatch.setattr(closing, "RETRY_S", 0.05)
    job_id = desk.submit(4)
    broken = [True]

    def before(call, bucket, asked):
        if call == "put" and key in asked and broken:
            broken.clear()
            raise fault

    desk.objects.before = before
    desk.run()
    assert desk.store.queries.status(job_id).finished_at is None
    until(lambda: desk.published.extend(feed(desk.store)) or desk.published, within_s=15)
    desk.run()

    assert desk.store.queries.status(job_id).finished_at is not None
    assert desk.store.queries.status(job_id).done == 4


def test_draining_gives_back_what_comes_and_what_is_held(desk):
    valve = desk.line.segmenter.before = Valve()
    job_id = desk.submit(32)
    assert len(desk.published) == 2
    first = desk.published.pop(0)
    thread = Thread(target=desk.tickets.serve, args=(first.ticket, first.queue), daemon=True)
    thread.start()
    valve.wait_for_one()

    desk.tickets.drain()
    desk.line.engine.drain()
    desk.serve()
    valve.open()
    thread.join(20)

    assert len(desk.leases) == 0
    assert desk.placed("leased") == 0
    status = desk.store.queries.status(job_id)
    assert status.failed == 0
    assert {issued.queue for issued in desk.published} == {RECOVERY}


def test_room_is_made_by_the_longest_bulk_ticket(desks):
    desk = desks(max_items=2)
    assert not desk.tickets.make_room()
    valve = desk.line.segmenter.before = Valve()
    job_id = desk.submit(16)
    issued = desk.published.pop(0)
    assert issued.queue == BULK
    thread = Thread(target=desk.tickets.serve, args=(issued.ticket, issued.queue), daemon=True)
    thread.start()
    valve.wait_for_one()

    assert desk.tickets.running == 1
    assert desk.tickets.make_room()
    valve.open()
    thread.join(20)

    assert desk.tickets.running == 0
    assert 0 < desk.store.queries.status(job_id).done < 16
    desk.run()
    assert desk.store.queries.status(job_id).done == 16


def test_a_suspect_ticket_is_decoded_apart_and_alone(desks):
    seen = []
    stations = quick_stations()

    def decode(data, options, isolate):
        seen.append((isolate, desk.line.engine.inside))
        return stations.decode(data, options, isolate)

    desk = desks(stations=replace(stations, decode=decode))
    desk.submit(3)
    issued = desk.published.pop(0)

    desk.tickets.serve(issued.ticket, SUSPECT)

    assert seen == [(True, 1)] * 3


def test_hidden_jobs_and_large_pictures_are_not_shown(desk):
    job_id = desk.submit(2, image_output=ImageOutput.HIDE)

    desk.run()

    assert b"Before and after" not in desk.objects.get("cutouts", report_key(job_id)).data
    assert MAX_SHOWN_PX < 100_000_000


def test_a_ticket_that_is_given_back_while_its_beat_is_under_way_is_no_loss(desk):
    desk.submit(4)
    claim = grant(desk.store, desk.published.pop(0))
    held = desk.leases.hold(claim.lease)
    beat = desk.store.leases.beat

    def meanwhile_given_back(leases, *, ttl_s):
        desk.store.leases.release(claim.lease)
        desk.leases.drop(held)
        return beat(leases, ttl_s=ttl_s)

    desk.store.leases.beat = meanwhile_given_back
    desk.leases.beat()

    assert not held.lost
    assert desk.leases.lost == 0


def test_a_lease_that_another_has_by_now_is_lost(desk):
    desk.submit(4)
    claim = grant(desk.store, desk.published.pop(0))
    held = desk.leases.hold(claim.lease)
    desk.leases.beat()
    assert not held.lost

    desk.store.leases.release(claim.lease)
    desk.leases.beat()

    assert held.lost
