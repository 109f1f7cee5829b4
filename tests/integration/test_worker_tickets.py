"""Ticket processing, also while Redis, S3 or a model is unavailable; no worker process."""

import json
from dataclasses import replace
from threading import Thread

import pytest
from support.jobs import grant
from support.redelivery import end_parking
from support.stand_ins import Valve, quick_stations

from shared.broker.queues import BULK, RECOVERY, SUSPECT
from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable, WeightsInvalid
from shared.job.keys import report_key, results_key
from shared.job.spec import ImageOutput

pytestmark = pytest.mark.integration


def test_a_ticket_is_processed_sharded_and_merged(desk):
    job_id = desk.submit(20)

    desk.run()

    assert desk.store.status(job_id).done == 20
    assert desk.store.status(job_id).finished_at is not None
    lines = desk.objects.get("cutouts", results_key(job_id)).data.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(20))
    assert desk.objects.head("cutouts", report_key(job_id)) is not None
    assert len(desk.leases) == 0


@pytest.mark.parametrize("script", ["finish_begin", "finish_commit", "mark"])
def test_a_ticket_is_closed_when_redis_comes_back(desk, script):
    """If its lease expired instead, that would count as a death of the worker."""
    job_id = desk.submit(4)
    desk.store.away = [script]

    desk.run()

    assert desk.store.status(job_id).finished_at is not None


def test_a_ticket_whose_manifest_cannot_be_read_is_released(desk):
    job_id = desk.submit(4)
    chunk, real = [], desk.store.manifest_chunk

    def away_once(*given):
        if not chunk:
            chunk.append(given)
            raise RedisUnavailable("made up")
        return real(*given)

    desk.store.manifest_chunk = away_once
    desk.serve()

    assert desk.deaths(job_id) == [None]
    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [(BucketUnavailable("no bucket"), "bucket: no bucket"), (StoreUnavailable("busy"), None)],
    ids=["bucket", "store"],
)
def test_a_manifest_that_is_unavailable_releases_the_ticket(desk, fault, said):
    job_id = desk.submit(4)
    desk.store._client.delete(f"rmbg:job:{job_id}:manifest")  # as if it lay in the bucket
    desk.line.fail_store("get", times=1, error=fault)

    desk.serve()

    assert desk.waiting_for(job_id) == said
    assert desk.deaths(job_id) == [None]
    assert desk.placed("leased") == 0


def test_a_refused_model_releases_the_ticket_and_counts_no_death(desks):
    def load(name):
        raise WeightsInvalid(f"{name}: none")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert desk.store.status(job_id).failed == 0
    assert desk.deaths(job_id) == [None]
    assert desk.placed("parked") == 1


@pytest.mark.parametrize("key", ["shards/", "results.jsonl", "report.html"])
@pytest.mark.parametrize(
    "fault", [BucketUnavailable("no bucket"), StoreUnavailable("busy")], ids=["bucket", "store"]
)
def test_documents_that_cannot_be_written_are_written_later(desk, key, fault):
    job_id = desk.submit(4)
    broken = [True]

    def before(call, bucket, asked):
        if call == "put" and key in asked and broken:
            broken.clear()
            raise fault

    desk.objects.before = before
    desk.run()
    assert desk.store.status(job_id).finished_at is None
    end_parking(desk)
    desk.run()

    assert desk.store.status(job_id).finished_at is not None
    assert desk.store.status(job_id).done == 4


def test_draining_releases_new_and_held_tickets(desk):
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
    thread.join(60)

    assert len(desk.leases) == 0
    assert desk.placed("leased") == 0
    status = desk.store.status(job_id)
    assert status.failed == 0
    assert {issued.queue for issued in desk.published} == {RECOVERY}


def test_the_longest_bulk_ticket_is_released_to_free_a_slot(desks):
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
    thread.join(60)

    assert desk.tickets.running == 0
    assert 0 < desk.store.status(job_id).done < 16
    desk.run()
    assert desk.store.status(job_id).done == 16


def test_a_suspect_ticket_is_decoded_in_isolation_one_item_at_a_time(desks):
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


def test_the_report_of_a_hidden_job_shows_no_images(desk):
    job_id = desk.submit(2, image_output=ImageOutput.HIDE)

    desk.run()

    assert b"Before and after" not in desk.objects.get("cutouts", report_key(job_id)).data


def test_a_ticket_released_during_a_renewal_of_its_lease_is_not_lost(desk):
    desk.submit(4)
    claim = grant(desk.store, desk.published.pop(0))
    held = desk.leases.hold(claim.lease)
    beat = desk.store.beat

    def beat_after_release(leases, *, ttl_s):
        desk.store.release(claim.lease)
        desk.leases.drop(held)
        return beat(leases, ttl_s=ttl_s)

    desk.store.beat = beat_after_release
    desk.leases.beat()

    assert not held.lost
    assert desk.leases.lost == 0


def test_a_released_lease_is_lost_at_the_next_renewal(desk):
    desk.submit(4)
    claim = grant(desk.store, desk.published.pop(0))
    held = desk.leases.hold(claim.lease)
    desk.leases.beat()
    assert not held.lost

    desk.store.release(claim.lease)
    desk.leases.beat()

    assert held.lost
