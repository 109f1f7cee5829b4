"""One ticket's run: the real engine over a store in memory, the real job store over Redis."""

import threading

import pytest
from support.engine_harness import EngineHarness
from support.jobs import feed, grant, stage, submission, submit
from support.stand_ins import QuickImaging, Valve
from support.until import until

from shared.errors import RedisUnavailable
from shared.jobstore.store import JobStore
from worker.consumer import range_runner as runs
from worker.consumer.leases import HeldTicket
from worker.consumer.range_runner import MARK_ITEMS, Range, RangeRunner

MODEL = "isnet-general-use"


class Noting(JobStore):
    """The real job store, which notes what it is told and may be away for the first calls."""

    away = 0

    def mark(self, lease, results):
        if self.away:
            self.away -= 1
            raise RedisUnavailable("made up")
        self.groups = [*getattr(self, "groups", []), len(results)]
        return super().mark(lease, results)

    def trying(self, lease, index, *, image_key):
        self.tried = [*getattr(self, "tried", []), index]
        return super().trying(lease, index, image_key=image_key)


@pytest.fixture
def noting(redis_server, redis_client):
    store = Noting.connect(redis_server.url)
    yield store
    store.close()


@pytest.fixture
def harness():
    harness = EngineHarness(imaging=QuickImaging())
    yield harness
    harness.close()


class Ticket:
    """A claimed ticket over the first items of a job with sources `0.jpg`, `1.jpg` and so on."""

    def __init__(self, store, harness, total, *, worker="w", claim=None, is_wanted=None, **details):
        self.store, self.harness = store, harness
        self.job_id = claim.lease.ticket.job_id if claim else submit(store, total, rem_mode=MODEL)
        for n in range(total):
            harness.store.put("inbox", f"{n}.jpg", b"%d" % n, content_type="image/jpeg")
        self.claim = claim or grant(store, feed(store)[0], worker)
        self.held = HeldTicket(self.claim.lease)
        keys = {n: f"{n}.jpg" for n in range(total)}
        given = {"urgent": False, "isolate": False} | details
        self.run = RangeRunner(
            Range(held=self.held, claim=self.claim, keys=keys, model=harness.model, **given),
            harness.engine,
            store,
            is_wanted=is_wanted or (lambda: False),
        )
        self._thread = threading.Thread(target=self.run.work_off, daemon=True)

    def work_off(self):
        """Work it off in this thread; return the job's status."""
        self.run.work_off()
        return self.store.queries.status(self.job_id)

    def start(self):
        self._thread.start()

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.store.queries.status(self.job_id)


def test_all_items_are_marked_with_their_records(noting, harness):
    ticket = Ticket(noting, harness, 5)
    harness.store.delete("inbox", ["3.jpg"])

    status = ticket.work_off()

    assert (status.done, status.failed) == (4, 1)
    assert status.error_classes == {"ObjectMissing": 1}
    assert status.verdicts == {"fine": 4}
    assert noting.leases.finish_begin(ticket.claim.lease).complete
    assert ticket.run.unstarted == 0


def test_items_that_have_ended_before_are_not_done_again(noting, harness):
    first = Ticket(noting, harness, 4)
    harness.store.put("inbox", "1.jpg", b"bad", content_type="image/jpeg")
    first.work_off()
    issued = noting.leases.release(first.claim.lease)
    assert noting.queries.status(first.job_id).done == 3

    harness.segmenter.batches.clear()
    again = Ticket(noting, harness, 4, claim=grant(noting, issued[0]))
    again.work_off()

    assert harness.segmenter.batches == []


def test_items_are_marked_in_groups(noting, harness):
    """A script call for each would be a hundred times the load on Redis."""
    ticket = Ticket(noting, harness, 16)

    ticket.work_off()

    assert sum(noting.groups) == 16
    assert len(noting.groups) <= 3
    assert max(noting.groups) <= 2 * MARK_ITEMS


def test_urgent_items_are_marked_at_once(noting, harness, monkeypatch):
    monkeypatch.setattr(runs, "MARK_S", 3600)
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 3, urgent=True)
    harness.store.delete("inbox", ["0.jpg"])

    ticket.start()
    until(lambda: noting.queries.status(ticket.job_id).failed == 1)
    valve.open()

    assert ticket.join().done == 2


def test_marks_wait_while_redis_is_away(noting, harness):
    noting.away = 3
    ticket = Ticket(noting, harness, 4)

    assert ticket.work_off().done == 4
    assert noting.groups == [4]


def test_a_run_whose_lease_is_lost_marks_nothing_more(noting, harness):
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 4)
    ticket.start()
    valve.wait_for_one()

    noting.leases.release(ticket.claim.lease)
    valve.open()
    status = ticket.join()

    assert ticket.held.lost
    assert (status.done, status.failed) == (0, 0)


def test_what_the_beat_has_found_lost_is_not_even_tried_to_mark(noting, harness):
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 4)
    ticket.start()
    valve.wait_for_one()

    ticket.held.lose()
    valve.open()
    ticket.join()

    assert not hasattr(noting, "groups")


def test_of_a_cancelled_job_what_is_in_flight_still_counts_and_nothing_more_starts(noting, harness):
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 4, isolate=True)
    ticket.start()
    valve.wait_for_one()

    noting.submissions.cancel(ticket.job_id)
    valve.open()
    status = ticket.join()

    assert (status.done, ticket.run.unstarted) == (1, 3)
    assert not ticket.held.lost


def test_a_stopped_run_finishes_what_it_handed_on_and_leaves_the_rest(noting):
    harness = EngineHarness(imaging=QuickImaging(), max_items=2)
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 10)
    ticket.start()
    valve.wait_for_one()
    until(lambda: ticket.run.unstarted == 8)

    ticket.run.stop()
    valve.open()
    status = ticket.join()

    assert status.done == 10 - ticket.run.unstarted
    assert ticket.run.unstarted >= 7  # one may have been on its way into the engine
    assert ticket.run.waiting_for is None
    harness.close()


def test_a_bucket_that_fails_ends_the_run_and_says_why(noting, harness):
    ticket = Ticket(noting, harness, 4)
    harness.store.missing.add("cutouts")

    status = ticket.work_off()

    assert (status.done, status.failed) == (0, 0)
    assert ticket.run.waiting_for.startswith("bucket: ")


def test_a_leaving_process_ends_the_run_and_waits_for_nothing(noting, harness):
    ticket = Ticket(noting, harness, 4)
    harness.drain()

    status = ticket.work_off()

    assert (status.done, ticket.run.waiting_for) == (0, None)


# --- suspects


def test_suspects_go_one_by_one_each_announced_before(noting, harness):
    inside = []
    harness.segmenter.before = lambda batch: inside.append((len(batch), list(noting.tried)))
    ticket = Ticket(noting, harness, 4, isolate=True)

    assert ticket.work_off().done == 4
    assert inside == [(1, [0]), (1, [0, 1]), (1, [0, 1, 2]), (1, [0, 1, 2, 3])]
    assert noting.groups == [1, 1, 1, 1]


@pytest.mark.parametrize(("isolate", "done"), [(True, 1), (False, 4)])
def test_only_a_suspect_gives_way_and_not_before_one_item(noting, harness, isolate, done):
    """It alone keeps others out; and one that were stopped each time at once would never end."""
    ticket = Ticket(noting, harness, 4, isolate=isolate, is_wanted=lambda: True)

    assert ticket.work_off().done == done
    assert ticket.run.unstarted == 4 - done


def test_a_suspect_is_not_tried_without_its_lease(noting, harness):
    ticket = Ticket(noting, harness, 4, isolate=True)
    noting.leases.release(ticket.claim.lease)

    ticket.work_off()

    assert ticket.held.lost
    assert harness.segmenter.batches == []


def test_waiting_for_a_suspect_takes_no_processor_time(noting, harness):
    """While one is in flight nothing else is to be done, so the thread sleeps on its outcome."""
    harness.segmenter.before = valve = Valve()
    ticket = Ticket(noting, harness, 4, isolate=True)
    asked = []
    outcomes = ticket.run._outcomes

    class Queue:
        put = outcomes.put

        def get(self, *, block, timeout):
            asked.append(block)
            return outcomes.get(block=block, timeout=timeout)

    ticket.run._outcomes = Queue()
    ticket.start()
    valve.wait_for_one()
    del asked[:]
    until(lambda: len(asked) >= 3)
    seen = asked[:3]
    valve.open()
    ticket.join()

    assert all(seen)


# --- attempts


def test_attempts_of_earlier_generations_count(noting, harness):
    job = submission(1, rem_mode=MODEL)
    stage(noting, job)
    job_id = noting.submissions.submit(job).job_id
    first = Ticket(noting, harness, 1, claim=grant(noting, feed(noting)[0]))
    harness.store.put("inbox", "0.jpg", b"bad", content_type="image/jpeg")
    first.work_off()
    noting.leases.finish_begin(first.claim.lease)
    _, [merge] = noting.leases.finish_commit(first.claim.lease)
    assert noting.leases.merge_commit(grant(noting, merge).lease)
    assert noting.submissions.retry(job_id) == 1

    second = Ticket(noting, harness, 1, claim=grant(noting, feed(noting)[0]))
    second.work_off()

    [record] = noting.queries.open_records(job_id)
    assert '"attempts":2' in record
