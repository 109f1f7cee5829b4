"""What nobody has foreseen costs a ticket no death: it is given back, with what it waits for."""

import json
import threading

import pytest
from support.jobs import feed
from support.stand_ins import Valve
from support.until import until

from shared.broker.queues import INTERACTIVE, RECOVERY, SUSPECT
from shared.errors import DeviceLost

pytestmark = pytest.mark.integration


def assert_given_back(desk, job_id, *, waiting_for):
    """A lease that is left to run out would blame the range; after two it goes to the suspects."""
    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1
    assert desk.deaths(job_id) == [None]
    assert waiting_for in desk.waiting_for(job_id)


def serve_apart(desk, issued, queue=None):
    thread = threading.Thread(
        target=desk.tickets.serve, args=(issued.ticket, queue or issued.queue), daemon=True
    )
    thread.start()
    return thread


def test_a_manifest_that_is_gone_gives_the_ticket_back(desk):
    job_id = desk.submit(4)
    desk.store.connection.client.delete(f"rmbg:job:{job_id}:manifest")

    desk.serve()

    assert_given_back(desk, job_id, waiting_for="a worker's error: ObjectMissing")


def test_a_model_that_fails_unforeseen_gives_the_ticket_back(desks):
    def load(name):
        raise RuntimeError(f"{name}: out of everything")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert_given_back(desk, job_id, waiting_for="RuntimeError: isnet-general-use: out of")


def test_a_device_that_is_lost_while_a_model_is_loaded_ends_the_process_unblamed(desks):
    """For another worker the ticket is as good as any, so it does not rest."""

    def load(_name):
        raise DeviceLost("made up")

    desk = desks(load=load)
    job_id = desk.submit(4)

    desk.serve()

    assert [type(err) for err in desk.line.unfit] == [DeviceLost]
    assert desk.placed("leased") == 0
    assert desk.deaths(job_id) == [None]
    assert [issued.queue for issued in desk.published] == [RECOVERY]


def test_a_job_that_cannot_be_read_here_waits_and_is_done_when_it_can(desk):
    job_id = desk.submit(4)
    job, client = f"rmbg:job:{job_id}", desk.store.connection.client
    document = client.hget(job, "spec")
    client.hset(job, "spec", json.dumps(json.loads(document) | {"later": 1}))

    desk.serve()
    assert_given_back(desk, job_id, waiting_for="a worker that can read its document")

    client.hset(job, "spec", document)
    client.zadd("rmbg:parked", dict.fromkeys(client.zrange("rmbg:parked", 0, -1), 0))
    desk.published += feed(desk.store)
    desk.run()
    assert desk.store.queries.status(job_id).done == 4


@pytest.mark.parametrize(("document", "served"), [("shards/", 0), ("results.jsonl", 1)])
def test_a_document_that_fails_unforeseen_gives_the_ticket_back(desk, document, served):
    job_id = desk.submit(4)
    for _ in range(served):
        desk.serve()

    def before(call, bucket, key):
        if call == "put" and document in key:
            raise RuntimeError("made up")

    desk.objects.before = before
    desk.serve()

    assert_given_back(desk, job_id, waiting_for="a worker's error: RuntimeError: made up")


def test_a_merge_is_given_back_when_redis_comes_back(desk):
    job_id = desk.submit(4)
    desk.serve()
    desk.connection.failing = ["merge_commit", "release"]

    desk.serve()

    assert desk.placed("leased") == 0
    assert desk.placed("parked") == 1
    assert desk.deaths(job_id) == [None]


# --- who holds a slot, and who gives way


def test_a_merge_holds_a_slot(desk):
    """Or no room is made for an interactive job while all slots are taken."""
    desk.submit(4)
    desk.serve()
    seen = []

    def before(call, bucket, key):
        seen.append(desk.tickets.running)

    desk.objects.before = before
    desk.serve()

    assert set(seen) == {1}
    assert desk.tickets.running == 0


def test_a_ticket_that_waits_for_a_suspect_one_holds_a_slot(desk):
    desk.submit(4)
    with desk.tickets._gate.alone():
        thread = serve_apart(desk, desk.published.pop(0))
        until(lambda: desk.tickets.running == 1)
    thread.join(20)

    assert desk.tickets.running == 0


def test_a_suspect_range_gives_way_to_an_urgent_ticket_after_one_item(desk):
    valve = desk.line.segmenter.before = Valve()
    job_id = desk.submit(16)
    suspect = serve_apart(desk, desk.published.pop(0), SUSPECT)
    valve.wait_for_one()
    desk.submit(2, priority="interactive", keys="others")
    urgent = serve_apart(desk, desk.published.pop(0), INTERACTIVE)
    until(lambda: desk.tickets._gate.is_wanted)

    valve.open()
    suspect.join(20)
    urgent.join(20)

    assert desk.store.queries.status(job_id).done == 1
    desk.run()
    assert desk.store.queries.status(job_id).done == 16
