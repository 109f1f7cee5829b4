"""Which ways of leaving count as the death of a worker."""

import threading

import pytest
from support.stand_ins import Valve
from support.until import until

from shared.broker.queues import SUSPECT
from shared.errors import DeviceLost
from shared.job.spec import JobState
from worker.lifecycle import UNFIT_EXIT, Phase, start_loop


def lose_device(_batch):
    raise DeviceLost("simulated")


@pytest.fixture
def workers(consumers):
    """Make workers whose buckets hold the sources of jobs with up to three items."""

    def make():
        made = consumers()
        for n in range(3):
            made.harness.put(f"{n}.jpg", b"%d" % n)
        return made

    return make


def serve_behind(worker, valve):
    """Serve a job of three items that wait for the network; return its ID and the thread.

    A first item, of no job, holds the network until the valve is opened.
    """
    worker.harness.segmenter.before = valve
    job_id = worker.submit(3)
    worker.harness.put("first.jpg", b"x")
    worker.harness.offer("first.jpg")
    valve.wait_for_one()
    serving = worker.serve_in_thread()
    until(lambda: worker.harness.waiting_for_batch() == 3)
    return job_id, serving


def hand_over(former, latter):
    """Let another worker take the tickets that *former* issued."""
    latter.published, former.published = former.published, []


def test_a_lost_device_counts_as_a_death_and_a_second_one_makes_the_ticket_suspect(workers):
    first, second, third = workers(), workers(), workers()
    for worker in (first, second):
        worker.harness.segmenter.before = lose_device
    job_id = first.submit(3)

    first.serve()
    assert first.shutdown.is_unfit
    assert first.deaths(job_id) == [b"1"]
    assert [issued.queue == SUSPECT for issued in first.published] == [False]

    hand_over(first, second)
    second.serve()
    assert second.deaths(job_id) == [b"2"]
    assert [issued.queue for issued in second.published] == [SUSPECT]

    hand_over(second, third)
    third.run()
    assert third.store.queries.status(job_id).state is JobState.DONE


def test_a_heartbeat_that_fails_three_times_in_a_row_ends_the_process_with_a_death(workers):
    """It goes on while the process leaves, as the tickets are still held."""
    worker, valve = workers(), Valve()
    job_id, serving = serve_behind(worker, valve)
    failures, beats = [MemoryError()] * 3, threading.Event()

    def beat():
        if failures:
            raise failures.pop()
        beats.set()

    start_loop("leases", beat, shutdown=worker.shutdown, every_s=0.01)
    assert worker.shutdown.wait(Phase.DRAINING, 10)
    assert beats.wait(10)
    worker.harness.engine.drain()
    valve.open()
    serving.join(10)

    assert worker.shutdown.exit_code == UNFIT_EXIT
    assert worker.deaths(job_id) == [b"1"]


def test_a_plain_drain_counts_no_death(workers):
    worker, valve = workers(), Valve()
    job_id, serving = serve_behind(worker, valve)

    worker.drain()
    valve.open()
    serving.join(10)

    assert worker.shutdown.exit_code == 0
    assert worker.store.queries.status(job_id).done == 0
    assert {deaths or b"0" for deaths in worker.deaths(job_id)} == {b"0"}
    assert [issued.queue == SUSPECT for issued in worker.published] == [False]
