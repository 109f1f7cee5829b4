"""Unforeseen errors: the ticket is released with a reason and does not count as a death."""

import json
import threading

import pytest
from support.redelivery import end_parking
from support.stand_ins import Valve
from support.until import until

from shared.broker.queues import INTERACTIVE, RECOVERY, SUSPECT
from shared.errors import DeviceLost

pytestmark = pytest.mark.integration


def assert_released(desk, job_id, *, waiting_for):
    """Check that no death is counted: after two deaths a range goes to the suspect queue."""
    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1
    assert desk.deaths(job_id) == [None]
    assert waiting_for in desk.waiting_for(job_id)


def serve_in_thread(desk, issued, queue=None):
    thread = threading.Thread(
        target=desk.tickets.serve, args=(issued.ticket, queue or issued.queue), daemon=True
    )
    thread.start()
    return thread


def test_a_missing_manifest_releases_the_ticket(desk):
    job_id = desk.submit(4)
    desk.store._client.delete(f"rmbg:job:{job_id}:manifest")

    desk.serve()

    assert_released(desk, job_id, waiting_for="a worker's error: ObjectMissing")


def test_an_unforeseen_error_while_loading_a_model_releases_the_ticket(desks):
    def load(name):
        raise RuntimeError(f"{name}: out of everything")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert_released(desk, job_id, waiting_for="RuntimeError: isnet-general-use: out of")


def test_a_device_lost_while_loading_a_model_ends_the_process_and_counts_no_death(desks):
    """The ticket is issued again at once, because another worker can process it."""

    def load(_name):
        raise DeviceLost("made up")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert [type(err) for err in desk.line.unfit] == [DeviceLost]
    assert desk.placed("leased") == 0
    assert desk.deaths(job_id) == [None]
    assert [issued.queue for issued in desk.published] == [RECOVERY]


def test_a_job_document_that_cannot_be_read_waits_until_it_can(desk):
    job_id = desk.submit(4)
    job, client = f"rmbg:job:{job_id}", desk.store._client
    document = client.hget(job, "spec")
    client.hset(job, "spec", json.dumps(json.loads(document) | {"later": 1}))

    desk.serve()
    assert_released(desk, job_id, waiting_for="a worker that can read its document")

    client.hset(job, "spec", document)
    end_parking(desk)
    desk.run()
    assert desk.store.status(job_id).done == 4


@pytest.mark.parametrize(("document", "served"), [("shards/", 0), ("results.jsonl", 1)])
def test_an_unforeseen_error_while_writing_a_document_releases_the_ticket(desk, document, served):
    job_id = desk.submit(4)
    for _ in range(served):
        desk.serve()

    def before(call, bucket, key):
        if call == "put" and document in key:
            raise RuntimeError("made up")

    desk.objects.before = before
    desk.serve()

    assert_released(desk, job_id, waiting_for="a worker's error: RuntimeError: made up")


def test_a_merge_is_released_when_redis_comes_back(desk):
    job_id = desk.submit(4)
    desk.serve()
    desk.store.away = ["merge_commit", "release"]

    desk.serve()

    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1
    assert desk.deaths(job_id) == [None]


# --- slots and priorities


def test_a_merge_takes_a_slot(desk):
    """Otherwise an interactive job would find no free slot and no bulk ticket to release."""
    desk.submit(4)
    desk.serve()
    seen = []

    def before(call, bucket, key):
        seen.append(desk.tickets.running)

    desk.objects.before = before
    desk.serve()

    assert set(seen) == {1}
    assert desk.tickets.running == 0


def test_a_ticket_that_waits_for_the_exclusive_lock_takes_a_slot(desk):
    desk.submit(4)
    with desk.tickets._gate.alone():
        thread = serve_in_thread(desk, desk.published.pop(0))
        until(lambda: desk.tickets.running == 1)
    thread.join(60)

    assert desk.tickets.running == 0


def test_a_suspect_range_yields_to_an_interactive_ticket_after_one_item(desk):
    valve = desk.line.segmenter.before = Valve()
    job_id = desk.submit(16)
    suspect = serve_in_thread(desk, desk.published.pop(0), SUSPECT)
    valve.wait_for_one()
    desk.submit(2, priority="interactive", keys="others")
    interactive = serve_in_thread(desk, desk.published.pop(0), INTERACTIVE)
    until(lambda: desk.tickets._gate.is_wanted)

    valve.open()
    suspect.join(60)
    interactive.join(60)

    assert desk.store.status(job_id).done == 1
    desk.run()
    assert desk.store.status(job_id).done == 16
