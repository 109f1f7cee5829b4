"""Ticket processing, also while Redis, S3 or a model is unavailable; no worker process."""

import json
from contextlib import contextmanager
from threading import Thread

import pytest
import redis
from support.jobs import FailingConnection, grant
from support.redelivery import end_parking
from support.report_page import data_in
from support.stand_ins import QuickImaging, Valve

from shared.broker.queues import BULK, RECOVERY, SUSPECT
from shared.errors import BucketUnavailable, StoreUnavailable, WeightsInvalid
from shared.job.keys import report_key, results_key
from shared.job.spec import ImageOutput

pytestmark = pytest.mark.integration


class UnreadableHashes:
    """A Redis client that cannot read hash fields, where manifests are stored."""

    def hget(self, key, field):
        raise redis.ConnectionError("injected")


class ConnectionWithoutManifests(FailingConnection):
    """A connection that cannot read manifests once `is_failing` is set."""

    is_failing = False

    @contextmanager
    def commands(self):
        with super().commands() as client:
            yield UnreadableHashes() if self.is_failing else client


class InterruptedRenewal(FailingConnection):
    """A connection that calls `before_beat` before it renews leases."""

    before_beat = staticmethod(lambda: None)

    def run(self, name, *rows, **args):
        if name == "beat":
            self.before_beat()
        return super().run(name, *rows, **args)


def test_a_ticket_is_processed_sharded_and_merged(consumer):
    job_id = consumer.submit(20)

    consumer.run()

    assert consumer.store.queries.status(job_id).done == 20
    assert consumer.store.queries.status(job_id).finished_at is not None
    lines = consumer.objects.get("cutouts", results_key(job_id)).data.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(20))
    assert consumer.objects.head("cutouts", report_key(job_id)) is not None
    assert len(consumer.leases) == 0


@pytest.mark.parametrize("script", ["finish_begin", "finish_commit", "mark"])
def test_a_ticket_is_closed_when_redis_comes_back(consumer, script):
    """If its lease expired instead, that would count as a death of the worker."""
    job_id = consumer.submit(4)
    consumer.connection.failing = [script]

    consumer.run()

    assert consumer.store.queries.status(job_id).finished_at is not None


def test_a_ticket_whose_manifest_cannot_be_read_is_released(consumers):
    consumer = consumers(connection=ConnectionWithoutManifests)
    job_id = consumer.submit(4)
    manifest = f"rmbg:job:{job_id}:manifest"
    consumer.connection.client.delete(manifest)
    consumer.connection.client.set(manifest, "not a hash: reading it is an error")

    consumer.connection.is_failing = True
    consumer.serve()

    assert consumer.deaths(job_id) == [None]
    assert consumer.placed("leased") == 0
    assert consumer.placed("parked") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (BucketUnavailable("no bucket"), "bucket: no bucket"),
        (StoreUnavailable("busy"), "object store: busy"),
    ],
    ids=["bucket", "store"],
)
def test_a_manifest_that_is_unavailable_releases_the_ticket(consumer, fault, said):
    job_id = consumer.submit(4)
    consumer.store.connection.client.delete(
        f"rmbg:job:{job_id}:manifest"
    )  # as if it lay in the bucket
    consumer.harness.fail_store("get", times=1, error=fault)

    consumer.serve()

    assert consumer.waiting_for(job_id) == said
    assert consumer.deaths(job_id) == [None]
    assert consumer.placed("leased") == 0


def test_a_refused_model_releases_the_ticket_and_counts_no_death(consumers):
    def load(name):
        raise WeightsInvalid(f"{name}: none")

    consumer = consumers(load=load)
    job_id = consumer.submit(4)

    consumer.serve()

    assert consumer.store.queries.status(job_id).failed == 0
    assert consumer.deaths(job_id) == [None]
    assert consumer.placed("parked") == 1


@pytest.mark.parametrize("key", ["shards/", "results.jsonl", "report.html"])
@pytest.mark.parametrize(
    "fault", [BucketUnavailable("no bucket"), StoreUnavailable("busy")], ids=["bucket", "store"]
)
def test_documents_that_cannot_be_written_are_written_later(consumer, key, fault):
    job_id = consumer.submit(4)
    broken = [True]

    def before(call, bucket, asked):
        if call == "put" and key in asked and broken:
            broken.clear()
            raise fault

    consumer.objects.before = before
    consumer.run()
    assert consumer.store.queries.status(job_id).finished_at is None
    end_parking(consumer)
    consumer.run()

    assert consumer.store.queries.status(job_id).finished_at is not None
    assert consumer.store.queries.status(job_id).done == 4


def test_draining_releases_new_and_held_tickets(consumer):
    valve = consumer.harness.segmenter.before = Valve()
    job_id = consumer.submit(32)
    assert len(consumer.published) == 2
    first = consumer.published.pop(0)
    thread = Thread(target=consumer.consumer.serve, args=(first.ticket, first.queue), daemon=True)
    thread.start()
    valve.wait_for_one()

    consumer.drain()
    consumer.serve()
    valve.open()
    thread.join(60)

    assert len(consumer.leases) == 0
    assert consumer.placed("leased") == 0
    status = consumer.store.queries.status(job_id)
    assert status.failed == 0
    assert {issued.queue for issued in consumer.published} == {RECOVERY}


def test_the_longest_bulk_ticket_is_released_to_free_a_slot(consumers):
    consumer = consumers(max_items=2)
    assert not consumer.consumer.make_room()
    valve = consumer.harness.segmenter.before = Valve()
    job_id = consumer.submit(16)
    issued = consumer.published.pop(0)
    assert issued.queue == BULK
    thread = Thread(target=consumer.consumer.serve, args=(issued.ticket, issued.queue), daemon=True)
    thread.start()
    valve.wait_for_one()

    assert consumer.consumer.running == 1
    assert consumer.consumer.make_room()
    valve.open()
    thread.join(60)

    assert consumer.consumer.running == 0
    assert 0 < consumer.store.queries.status(job_id).done < 16
    consumer.run()
    assert consumer.store.queries.status(job_id).done == 16


def test_a_suspect_ticket_is_decoded_in_isolation_one_item_at_a_time(consumers):
    seen = []

    def decode(data, options, *, isolate):
        seen.append((isolate, consumer.harness.engine.inflight.items))
        return QuickImaging().decode(data, options, isolate=isolate)

    consumer = consumers(imaging=QuickImaging(decode=decode))
    consumer.submit(3)
    issued = consumer.published.pop(0)

    consumer.consumer.serve(issued.ticket, SUSPECT)

    assert seen == [(True, 1)] * 3


def test_the_report_of_a_hidden_job_shows_no_images(consumer):
    job_id = consumer.submit(2, image_output=ImageOutput.HIDE)

    consumer.run()

    data = data_in(consumer.objects.get("cutouts", report_key(job_id)).data)
    assert (data["folder"], data["previews"]) == (None, {})


def test_a_ticket_released_during_a_renewal_of_its_lease_is_not_lost(consumers):
    consumer = consumers(connection=InterruptedRenewal)
    consumer.submit(4)
    claim = grant(consumer.store, consumer.published.pop(0))
    held = consumer.leases.hold(claim.lease)

    def release():
        consumer.store.leases.release(claim.lease)
        consumer.leases.drop(held)

    consumer.connection.before_beat = release
    consumer.leases.beat()

    assert not held.is_lost
    assert consumer.leases.lost == 0


def test_a_released_lease_is_lost_at_the_next_renewal(consumer):
    consumer.submit(4)
    claim = grant(consumer.store, consumer.published.pop(0))
    held = consumer.leases.hold(claim.lease)
    consumer.leases.beat()
    assert not held.is_lost

    consumer.store.leases.release(claim.lease)
    consumer.leases.beat()

    assert held.is_lost
