"""Redis loses its last second of writes: work is repeated, and nothing else changes."""

import pytest
from support.fleet import Fleet
from support.jobs import (
    close,
    done,
    events,
    feed,
    grant,
    mark_all,
    process,
    run_to_end,
    submit,
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
    """Process all tickets; each item must count once."""
    run_to_end(store, issued=issued)
    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, status.total, 0)


def test_a_server_killed_and_restarted_has_lost_nothing(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(0)])

    server.kill()
    with pytest.raises(RedisUnavailable):
        store.leases.mark(lease, [done(1)])
    server.start()

    assert store.leases.mark(lease, [done(i) for i in range(1, 10)]) is MarkAnswer.OK
    finish(store, job, close(store, lease))


def test_a_ticket_is_issued_again_if_its_issue_is_lost(server, store):
    """Its message was sent; it is issued once more, and the two messages allow one claim."""
    job = submit(store, 10)
    before = server.snapshot()
    [sent] = feed(store)
    server.go_back(before)

    assert store.leases.claim(sent.ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
    [again] = feed(store)
    claim = grant(store, sent)
    assert store.leases.claim(again.ticket, "other", ttl_s=30) == Refused(RefusalReason.BUSY)
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))


def test_a_ticket_is_recovered_if_its_claim_is_lost(server, store):
    """The worker's marks are rejected; the ticket counts as lost and is issued again."""
    job = submit(store, 10)
    [one] = feed(store)
    before = server.snapshot()
    claim = grant(store, one)
    server.go_back(before)

    assert mark_all(store, claim) is MarkAnswer.LOST
    assert store.leases.finish_begin(claim.lease) is None
    assert store.queries.status(job).done == 0
    finish(store, job, [one])


def test_the_first_owner_holds_the_ticket_again_if_its_successor_is_lost(server, store):
    """The first owner is dead; the second one's marks are rejected."""
    job = submit(store, 10)
    [one] = feed(store)
    first = grant(store, one, "first")
    before = server.snapshot()
    store.leases.beat([first.lease], ttl_s=0.001)
    [again] = until(lambda: feed(store))
    second = grant(store, again, "second")
    server.go_back(before)

    assert second.lease.ticket.epoch > first.lease.ticket.epoch
    assert mark_all(store, second) is MarkAnswer.LOST
    assert store.leases.claim(again.ticket, "third", ttl_s=30) == Refused(RefusalReason.BUSY)
    mark_all(store, first)
    finish(store, job, close(store, first.lease))


def test_a_message_with_a_lost_epoch_is_as_valid_as_the_current_one(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    before = server.snapshot()
    [future] = store.leases.release(grant(store, one).lease)
    server.go_back(before)

    claim = grant(store, future)

    assert claim.lease.ticket.epoch == 2
    assert store.leases.claim(one.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))
    assert store.queries.accepted_shards(job) == [("0-10", 2)]


def test_items_are_processed_again_if_their_marks_are_lost(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    before = server.snapshot()
    mark_all(store, claim)
    server.go_back(before)

    assert not store.leases.finish_begin(claim.lease).is_complete
    mark_all(store, claim)
    finish(store, job, close(store, claim.lease))


def test_a_range_is_closed_again_if_its_closing_is_lost(server, store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim)
    before = server.snapshot()
    close(store, claim.lease)
    server.go_back(before)

    assert store.queries.accepted_shards(job) == []
    finish(store, job, close(store, claim.lease))
    assert store.queries.accepted_shards(job) == [("0-10", 1)]


def test_a_job_ends_again_if_its_end_is_lost(server, store):
    """Consumers identify events by job, event and generation."""
    job = submit(store, 10)
    [one] = feed(store)
    [merge] = process(store, one)
    lease = grant(store, merge).lease
    before = server.snapshot()
    assert store.leases.merge_commit(lease)
    server.go_back(before)

    assert store.queries.status(job).state is JobState.FINISHING
    assert store.leases.merge_commit(lease)
    assert store.queries.status(job).state is JobState.DONE
    with server.client() as client:
        assert len(events(client)) == 1


def test_a_retry_can_be_repeated_if_it_is_lost(server, store):
    job = submit(store, 10)
    run_to_end(store, failing={3})
    before = server.snapshot()
    store.submissions.retry(job)
    feed(store)
    server.go_back(before)

    assert store.submissions.retry(job) == 1
    finish(store, job)


@pytest.mark.parametrize("seed", range(2))
def test_a_busy_fleet_survives_repeated_losses(server, store, seed):
    """Only repeated work shows: shards may be written twice, but no item counts twice."""
    job = submit(store, 300)
    with server.client() as client:
        fleet = Fleet(store, client, seed=seed, bad={5, 100})
        for goal in (30, 80, 130):
            fleet.run(until=lambda goal=goal: store.queries.status(job).done >= goal)
            before = server.snapshot()
            fleet.run(until=lambda goal=goal: store.queries.status(job).done >= goal + 30)
            server.go_back(before)
            assert store.queries.status(job).done < goal + 30
        fleet.run(until=lambda: store.queries.status(job).state is JobState.DONE)

        status = store.queries.status(job)
        assert (status.done, status.failed) == (298, 2)
        assert sorted(fleet.results[job]) == list(range(300))
        assert len(events(client)) == 1
