"""Redis loses its last second, as after a power cut: work is redone, and nothing else changes."""

import pytest
from support.fleet import Fleet
from support.jobs import (
    close,
    done,
    events,
    feed,
    grant,
    mark_all,
    run_to_end,
    submit,
    work_off,
)
from support.redis_server import RedisServer
from support.until import until

from shared.errors import RedisUnavailable
from shared.job.spec import JobState
from shared.jobstore.store import JobStore
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused


@pytest.fixture
def server():
    with RedisServer(append_only=True) as running:
        yield running


@pytest.fixture
def store(server):
    store = JobStore.connect(server.url)
    yield store
    store.close()


def finish(store, job, issued=()):
    """Work off what there is; each item must count once."""
    run_to_end(store, issued=issued)
    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, status.total, 0)


def test_a_killed_server_that_comes_back_has_lost_nothing(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(0)])

    server.kill()
    with pytest.raises(RedisUnavailable):
        store.mark(lease, [done(1)])
    server.start()

    assert store.mark(lease, [done(i) for i in range(1, 10)]) is MarkAnswer.OK
    finish(store, job, close(store, lease))


def test_the_issue_of_a_ticket_is_forgotten(server, store):
    """Its message is out; it is issued once more, and both messages are good for one claim."""
    job = submit(store, 10)
    before = server.snapshot()
    [sent] = feed(store)
    server.go_back(before)

    assert store.claim(sent.ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
    [again] = feed(store)
    claim = grant(store, sent)
    assert store.claim(again.ticket, "other", ttl_s=30) == Refused(RefusalReason.BUSY)
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))


def test_a_claim_is_forgotten(server, store):
    """What the worker does is not recorded any more; the ticket gets lost, and is found."""
    job = submit(store, 10)
    [one] = feed(store)
    before = server.snapshot()
    claim = grant(store, one)
    server.go_back(before)

    assert mark_all(store, claim) is MarkAnswer.LOST
    assert store.finish_begin(claim.lease) is None
    assert store.status(job).done == 0
    finish(store, job, [one])


def test_a_successor_is_forgotten_and_its_ticket_is_of_the_future(server, store):
    """The dead first owner holds the ticket again; the second one's word does not count."""
    job = submit(store, 10)
    [one] = feed(store)
    first = grant(store, one, "first")
    before = server.snapshot()
    store.beat([first.lease], ttl_s=0.001)
    [again] = until(lambda: feed(store))
    second = grant(store, again, "second")
    server.go_back(before)

    assert second.lease.ticket.epoch > first.lease.ticket.epoch
    assert mark_all(store, second) is MarkAnswer.LOST
    assert store.claim(again.ticket, "third", ttl_s=30) == Refused(RefusalReason.BUSY)
    mark_all(store, first)
    finish(store, job, close(store, first.lease))


def test_a_message_of_the_future_is_as_good_as_the_present_one(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    before = server.snapshot()
    [future] = store.release(grant(store, one).lease)
    server.go_back(before)

    claim = grant(store, future)

    assert claim.lease.ticket.epoch == 2
    assert store.claim(one.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))
    assert store.accepted_shards(job) == [("0-10", 2)]


def test_marks_are_forgotten(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    before = server.snapshot()
    mark_all(store, claim)
    server.go_back(before)

    assert not store.finish_begin(claim.lease).is_complete
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))


def test_the_closing_of_a_range_is_forgotten(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim)
    before = server.snapshot()
    close(store, claim.lease)
    server.go_back(before)

    assert store.accepted_shards(job) == []
    finish(store, job, close(store, claim.lease))
    assert store.accepted_shards(job) == [("0-10", 1)]


def test_the_end_of_a_job_is_forgotten_and_comes_again(server, store):
    """Consumers tell events apart by job, event and generation."""
    job = submit(store, 10)
    [one] = feed(store)
    [merge] = work_off(store, one)
    lease = grant(store, merge).lease
    before = server.snapshot()
    assert store.merge_commit(lease)
    server.go_back(before)

    assert store.status(job).state is JobState.FINISHING
    assert store.merge_commit(lease)
    assert store.status(job).state is JobState.DONE
    with server.client() as client:
        assert len(events(client)) == 1


def test_a_retry_is_forgotten_and_may_be_asked_for_again(server, store):
    job = submit(store, 10)
    run_to_end(store, failing={3})
    before = server.snapshot()
    store.retry(job)
    feed(store)
    server.go_back(before)

    assert store.retry(job) == 1
    finish(store, job)


@pytest.mark.parametrize("seed", range(2))
def test_a_fleet_at_work_survives_it_again_and_again(server, store, seed):
    """Only what is redone tells: shards may be written twice, but no item counts twice."""
    job = submit(store, 300)
    with server.client() as client:
        fleet = Fleet(store, client, seed=seed, bad={5, 100})
        for goal in (30, 80, 130):
            fleet.run(until=lambda goal=goal: store.status(job).done >= goal)
            before = server.snapshot()
            fleet.run(until=lambda goal=goal: store.status(job).done >= goal + 30)
            server.go_back(before)
            assert store.status(job).done < goal + 30
        fleet.run(until=lambda: store.status(job).state is JobState.DONE)

        status = store.status(job)
        assert (status.done, status.failed) == (298, 2)
        assert sorted(fleet.results[job]) == list(range(300))
        assert len(events(client)) == 1
