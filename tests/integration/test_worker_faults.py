"""Unforeseen errors: the ticket is released with a reason and does not count as a death."""

import json
import threading

import pytest
from support.jobs import grant
from support.redelivery import end_parking, expire_leases
from support.stand_ins import Valve, stand_in_model
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, SUSPECT
from shared.errors import DeviceLost
from worker.lifecycle import UNFIT_EXIT

pytestmark = pytest.mark.integration


def assert_released(consumer, job_id, *, waiting_for):
    """Check that no death is counted: after two deaths a range goes to the suspect queue."""
    assert consumer.placed("leased") == 0
    assert consumer.placed("parked") == 1
    assert consumer.deaths(job_id) == [None]
    assert waiting_for in consumer.waiting_for(job_id)


def serve_in_thread(consumer, issued, queue=None):
    thread = threading.Thread(
        target=consumer.consumer.serve, args=(issued.ticket, queue or issued.queue), daemon=True
    )
    thread.start()
    return thread


def test_a_missing_manifest_releases_the_ticket(consumer):
    job_id = consumer.submit(4)
    consumer.store.connection.client.delete(f"rmbg:job:{job_id}:manifest")

    consumer.serve()

    assert_released(consumer, job_id, waiting_for="a worker's error: ObjectMissing")


def test_an_unforeseen_error_while_loading_a_model_releases_the_ticket(consumers):
    def load(name):
        raise RuntimeError(f"{name}: out of everything")

    consumer = consumers(load=load)
    job_id = consumer.submit(4)

    consumer.serve()

    assert_released(consumer, job_id, waiting_for="RuntimeError: isnet-general-use: out of")


def test_a_device_lost_while_loading_a_model_ends_the_process_and_counts_no_death(consumers):
    """The ticket rests: the model may break the device of the next worker, too."""

    def load(_name):
        raise DeviceLost("injected")

    consumer = consumers(load=load)
    job_id = consumer.submit(4)

    consumer.serve()

    assert consumer.shutdown.exit_code == UNFIT_EXIT
    assert_released(consumer, job_id, waiting_for="device: injected")


def test_a_model_that_the_device_fails_on_waits_while_the_worker_serves_others(consumers):
    """Otherwise its job would send one worker after another away."""
    other = stand_in_model("RMBG-1.4")

    def load(name):
        if name == "RMBG-1.4":
            return other
        raise DeviceLost(f"{name}: no kernel image is available")

    consumer = consumers(load=load)
    good = consumer.submit(4, rem_mode="RMBG-1.4")
    bad = consumer.submit(4, keys="others")

    for _ in range(3):  # a range of each job, and the merge of the good one
        consumer.serve()

    assert consumer.store.queries.status(good).done == 4
    assert not consumer.shutdown.is_draining
    assert consumer.placed("parked") == 1
    assert consumer.deaths(bad) == [None]
    assert "no kernel image" in consumer.consumer._models.refused["isnet-general-use"]


def test_a_job_document_that_cannot_be_read_waits_until_it_can(consumer):
    job_id = consumer.submit(4)
    job, client = f"rmbg:job:{job_id}", consumer.store.connection.client
    document = client.hget(job, "spec")
    client.hset(job, "spec", json.dumps(json.loads(document) | {"schema": 99}))

    consumer.serve()
    assert_released(consumer, job_id, waiting_for="a worker that can read its document")

    client.hset(job, "spec", document)
    end_parking(consumer)
    consumer.run()
    assert consumer.store.queries.status(job_id).done == 4


@pytest.mark.parametrize(("document", "served"), [("shards/", 0), ("results.jsonl", 1)])
def test_an_unforeseen_error_while_writing_a_document_releases_the_ticket(
    consumer, document, served
):
    job_id = consumer.submit(4)
    for _ in range(served):
        consumer.serve()

    def before(call, bucket, key):
        if call == "put" and document in key:
            raise RuntimeError("injected")

    consumer.objects.before = before
    consumer.serve()

    assert_released(consumer, job_id, waiting_for="a worker's error: RuntimeError: injected")


def test_a_merge_is_released_when_redis_comes_back(consumer):
    job_id = consumer.submit(4)
    consumer.serve()
    consumer.connection.failing = ["merge_commit", "release"]

    consumer.serve()

    assert consumer.placed("leased") == 0
    assert consumer.placed("parked") == 1
    assert consumer.deaths(job_id) == [None]


# --- slots and priorities


def test_a_merge_takes_a_slot(consumer):
    """Otherwise an interactive job would find no free slot and no bulk ticket to release."""
    consumer.submit(4)
    consumer.serve()
    seen = []

    def before(call, bucket, key):
        seen.append(consumer.consumer.running)

    consumer.objects.before = before
    consumer.serve()

    assert set(seen) == {1}
    assert consumer.consumer.running == 0


def test_a_ticket_that_waits_for_the_exclusive_lock_takes_a_slot(consumer):
    consumer.submit(4)
    with consumer.consumer._exclusive.exclusive():
        thread = serve_in_thread(consumer, consumer.published.pop(0))
        until(lambda: consumer.consumer.running == 1)
    thread.join(60)

    assert consumer.consumer.running == 0


def test_a_suspect_range_yields_to_an_interactive_ticket_after_one_item(consumer):
    valve = consumer.harness.segmenter.before = Valve()
    job_id = consumer.submit(16)
    suspect = serve_in_thread(consumer, consumer.published.pop(0), SUSPECT)
    valve.wait_for_one()
    consumer.submit(2, priority="interactive", keys="others")
    interactive = serve_in_thread(consumer, consumer.published.pop(0), INTERACTIVE)
    until(lambda: consumer.consumer._exclusive.is_wanted)

    valve.open()
    suspect.join(60)
    interactive.join(60)

    assert consumer.store.queries.status(job_id).done == 1
    consumer.run()
    assert consumer.store.queries.status(job_id).done == 16


def test_a_suspect_ticket_that_another_queue_delivers_runs_nothing(consumer):
    """Only a turn in the suspect queue is taken alone; beside others it could blame them."""
    job_id = consumer.submit(4)
    for _ in range(2):
        grant(consumer.store, consumer.published.pop(0), "another")
        expire_leases(consumer)
    [suspect] = consumer.published
    assert suspect.queue == SUSPECT
    consumer.published.clear()

    consumer.consumer.serve(suspect.ticket, BULK)

    assert consumer.store.queries.status(job_id).done == 0
    assert [issued.queue for issued in consumer.published] == [SUSPECT]
    assert consumer.deaths(job_id) == [b"2"]
    consumer.run()
    assert consumer.store.queries.status(job_id).done == 4
