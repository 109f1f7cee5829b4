"""One claimed range: the real engine over a store in memory, the real job store over Redis."""

import threading
import time
from types import SimpleNamespace

import pytest
from support.engine_harness import EngineHarness
from support.jobs import feed, grant, stage, submission, submit
from support.stand_ins import QuickImaging, Valve
from support.until import until

from shared.errors import RedisUnavailable
from shared.jobstore.connection import Connection
from shared.jobstore.store import JobStore
from worker.consumer.exclusive_lock import ExclusiveLock
from worker.consumer.leases import HeldTicket
from worker.consumer.range_runner import MARK_ITEMS, RangeRunner
from worker.engine import ItemRequest

MODEL = "isnet-general-use"


class RecordingConnection(Connection):
    """A connection that records what is marked and announced; `outages` marks fail first."""

    def __init__(self, client):
        super().__init__(client)
        self.groups, self.announced, self.outages = [], [], 0
        self.bug = None

    def run(self, name, rows=(), /, **args):
        rows = list(rows)
        if name == "mark":
            if self.outages:
                self.outages -= 1
                raise RedisUnavailable("simulated")
            if self.bug:
                raise self.bug
            self.groups.append(len(rows))
        if name == "trying":
            self.announced.append(args["index"])
        return super().run(name, rows, **args)


@pytest.fixture
def connection(redis_server, redis_client):
    return RecordingConnection.connect(redis_server.url)


@pytest.fixture
def store(connection):
    made = JobStore(connection)
    yield made
    made.close()


@pytest.fixture
def harness():
    harness = EngineHarness(imaging=QuickImaging())
    yield harness
    harness.close()


class TicketRun:
    """A runner over a claimed ticket; the sources of its job are `0.jpg`, `1.jpg` and so on."""

    def __init__(self, store, harness, total, *, claim=None, lock=None, **details):
        self.store, self.harness = store, harness
        self.job_id = claim.lease.ticket.job_id if claim else submit(store, total, rem_mode=MODEL)
        for n in range(total):
            harness.put(f"{n}.jpg", b"%d" % n)
        self.claim = claim or grant(store, feed(store)[0])
        self.held = HeldTicket(self.claim.lease, harness.shutdown)
        template = ItemRequest(
            job_id=self.job_id,
            sequence=self.claim.sequence,
            spec=self.claim.spec,
            index=0,
            image_key="0.jpg",
            generation=self.claim.generation,
            model=harness.model,
            **details,
        )
        keys = {n: f"{n}.jpg" for n in range(total)}
        self.runner = RangeRunner(
            self.held,
            self.claim,
            template,
            keys=keys,
            engine=harness.engine,
            store=store,
            lock=lock or ExclusiveLock(),
        )
        self._thread = threading.Thread(target=self.runner.run, daemon=True)

    def run(self):
        """Run it in this thread; return the job's status."""
        self.runner.run()
        return self.store.queries.status(self.job_id)

    def start(self):
        self._thread.start()

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.store.queries.status(self.job_id)


def test_all_items_are_marked_with_their_records(store, harness):
    ticket = TicketRun(store, harness, 5)
    harness.store.delete("inbox", ["3.jpg"])

    status = ticket.run()

    assert (status.done, status.failed) == (4, 1)
    assert status.error_classes == {"ObjectMissing": 1}
    assert status.verdicts == {"fine": 4}
    assert store.leases.finish_begin(ticket.claim.lease).is_complete
    assert ticket.runner.unstarted == 0


def test_items_that_have_ended_are_not_run_again(store, harness):
    first = TicketRun(store, harness, 4)
    harness.put("1.jpg", b"bad")
    first.run()
    issued = store.leases.release(first.claim.lease)
    assert store.queries.status(first.job_id).done == 3

    harness.segmenter.batches.clear()
    again = TicketRun(store, harness, 4, claim=grant(store, issued[0]))
    again.run()

    assert harness.segmenter.batches == []


def test_items_are_marked_in_groups(connection, store, harness):
    """One script call for each item would be a hundred times the load on Redis."""
    ticket = TicketRun(store, harness, 16)

    ticket.run()

    assert sum(connection.groups) == 16
    assert len(connection.groups) <= 3
    assert max(connection.groups) <= 2 * MARK_ITEMS


def test_urgent_items_are_marked_at_once(store, harness):
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 3, urgent=True)
    ticket.runner._marked_at_s = time.monotonic() + 3600  # no mark is due because of its age
    harness.store.delete("inbox", ["0.jpg"])

    ticket.start()
    until(lambda: store.queries.status(ticket.job_id).failed == 1)
    valve.open()

    assert ticket.join().done == 2


def test_marks_are_repeated_until_redis_answers(connection, store, harness):
    connection.outages = 3
    ticket = TicketRun(store, harness, 4)

    assert ticket.run().done == 4
    assert connection.groups == [4]


def test_a_runner_whose_lease_is_lost_marks_nothing(store, harness):
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 4)
    ticket.start()
    valve.wait_for_one()

    store.leases.release(ticket.claim.lease)
    valve.open()
    status = ticket.join()

    assert ticket.held.is_lost
    assert (status.done, status.failed) == (0, 0)


def test_a_lease_that_the_heartbeat_found_lost_is_not_used_to_mark(store, harness):
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 4)
    ticket.start()
    valve.wait_for_one()

    ticket.held.is_lost = True
    valve.open()
    ticket.join()

    assert not hasattr(store, "groups")


def test_a_cancelled_job_counts_items_in_flight_and_starts_no_others(store, harness):
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 4, isolate=True)
    ticket.start()
    valve.wait_for_one()

    store.submissions.cancel(ticket.job_id)
    valve.open()
    status = ticket.join()

    assert (status.done, ticket.runner.unstarted) == (1, 3)
    assert not ticket.held.is_lost


def test_a_stopped_runner_finishes_items_in_flight_and_leaves_the_rest(store):
    harness = EngineHarness(imaging=QuickImaging(), max_items=2)
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 10)
    ticket.start()
    valve.wait_for_one()
    until(lambda: ticket.runner.unstarted == 8)

    ticket.runner.stop()
    valve.open()
    status = ticket.join()

    assert status.done == 10 - ticket.runner.unstarted
    assert ticket.runner.unstarted >= 7  # one may have been on its way into the engine
    assert ticket.runner.waiting_for is None
    harness.close()


def test_a_missing_bucket_ends_the_run_and_is_reported(store, harness):
    ticket = TicketRun(store, harness, 4)
    harness.store.missing.add("cutouts")

    status = ticket.run()

    assert (status.done, status.failed) == (0, 0)
    assert ticket.runner.waiting_for.startswith("bucket: ")


def test_a_draining_process_ends_the_run_and_the_job_waits_for_nothing(store, harness):
    ticket = TicketRun(store, harness, 4)
    harness.drain()

    status = ticket.run()

    assert (status.done, ticket.runner.waiting_for) == (0, None)


# --- suspect ranges


def test_items_of_a_suspect_range_run_one_by_one_and_are_announced_first(
    connection, store, harness
):
    inside = []
    harness.segmenter.before = lambda batch: inside.append((len(batch), list(connection.announced)))
    ticket = TicketRun(store, harness, 4, isolate=True)

    assert ticket.run().done == 4
    assert inside == [(1, [0]), (1, [0, 1]), (1, [0, 1, 2]), (1, [0, 1, 2, 3])]
    assert connection.groups == [1, 1, 1, 1]


@pytest.mark.parametrize(("isolate", "done"), [(True, 1), (False, 4)])
def test_only_a_suspect_range_gives_way_and_only_after_one_item(store, harness, isolate, done):
    """It alone keeps others out, and a range that always stopped at once would never end."""
    ticket = TicketRun(store, harness, 4, isolate=isolate, lock=SimpleNamespace(is_wanted=True))

    assert ticket.run().done == done
    assert ticket.runner.unstarted == 4 - done


def test_a_suspect_item_is_not_tried_after_its_lease_is_lost(store, harness):
    ticket = TicketRun(store, harness, 4, isolate=True)
    store.leases.release(ticket.claim.lease)

    ticket.run()

    assert ticket.held.is_lost
    assert harness.segmenter.batches == []


def test_waiting_for_a_suspect_item_takes_no_processor_time(store, harness):
    """Nothing else is to be done while it is in flight, so the thread sleeps until its result."""
    harness.segmenter.before = valve = Valve()
    ticket = TicketRun(store, harness, 4, isolate=True)
    asked = []
    results = ticket.runner._results

    class Queue:
        put = results.put

        def get(self, *, block, timeout):
            asked.append(block)
            return results.get(block=block, timeout=timeout)

    ticket.runner._results = Queue()
    ticket.start()
    valve.wait_for_one()
    del asked[:]
    until(lambda: len(asked) >= 3)
    seen = asked[:3]
    valve.open()
    ticket.join()

    assert all(seen)


# --- attempts


def test_attempts_of_earlier_generations_are_added(store, harness):
    job = submission(1, rem_mode=MODEL)
    stage(store, job)
    job_id = store.submissions.submit(job).job_id
    first = TicketRun(store, harness, 1, claim=grant(store, feed(store)[0]))
    harness.put("0.jpg", b"bad")
    first.run()
    store.leases.finish_begin(first.claim.lease)
    _, [merge] = store.leases.finish_commit(first.claim.lease)
    assert store.leases.merge_commit(grant(store, merge).lease)
    assert store.submissions.retry(job_id) == 1

    second = TicketRun(store, harness, 1, claim=grant(store, feed(store)[0]))
    second.run()

    [record] = store.queries.open_records(job_id)
    assert '"attempts":2' in record


@pytest.mark.parametrize("bug", [ValueError("simulated"), MemoryError()], ids=repr)
def test_an_unforeseen_error_of_the_job_store_leaves_no_item_in_flight(
    connection, store, harness, bug
):
    """The ticket is released then: its items must not go on beside those of its next worker."""
    valve = Valve()
    harness.store.before = lambda call, _, key: valve() if (call, key) == ("get", "1.jpg") else None
    ticket = TicketRun(store, harness, 2, urgent=True)
    connection.bug, left = bug, []

    def run():
        with pytest.raises(type(bug)):
            ticket.runner.run()
        left.append(harness.engine.inflight.items)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    valve.wait_for_one()
    until(lambda: ticket.held.is_stopped or left)
    valve.open()
    thread.join(30)

    assert left == [0]
