"""Finishing: shards, the merge ticket, and the one end of a job."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
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
from support.until import until

from shared.broker.queues import INTERACTIVE, RECOVERY
from shared.job.spec import JobState, Priority
from shared.jobstore.values import RefusalReason, Refused

WEEK_S = 7 * 24 * 3600


@pytest.fixture
def job(store):
    return submit(store, 20)


@pytest.fixture
def tickets(store, job):
    """The job's two tickets, 0-16 and 16-20."""
    return feed(store)


def test_finish_begin_returns_the_records_in_item_order(store, tickets):
    lease = grant(store, tickets[0]).lease
    store.leases.mark(lease, [done(i) for i in reversed(range(12, 16))])
    store.leases.mark(lease, [done(i) for i in range(12)])

    closing = store.leases.finish_begin(lease)

    assert closing.is_complete
    assert [json.loads(record)["index"] for record in closing.records] == list(range(16))


def test_records_of_an_earlier_owner_are_in_the_shard_of_its_successor(store, tickets):
    """No record is lost with a worker."""
    first = grant(store, tickets[0], "first")
    store.leases.mark(first.lease, [done(i) for i in range(8)])
    [again] = store.leases.release(first.lease)
    second = grant(store, again, "second")
    mark_all(store, second)

    assert len(store.leases.finish_begin(second.lease).records) == 16


def test_an_incomplete_range_cannot_be_closed(store, job, tickets):
    lease = grant(store, tickets[0]).lease
    store.leases.mark(lease, [done(0)])

    assert not store.leases.finish_begin(lease).is_complete
    assert store.leases.finish_commit(lease) == (False, [])
    assert store.queries.accepted_shards(job) == []
    assert len(store.leases.release(lease)) == 1


def test_a_shard_is_accepted_only_after_finish_begin(store, tickets):
    claim = grant(store, tickets[0])
    mark_all(store, claim)

    assert store.leases.finish_commit(claim.lease) == (False, [])


def test_a_successor_must_call_finish_begin_itself(store, tickets):
    """Its shard has another name, which its predecessor has not written."""
    first = grant(store, tickets[0])
    mark_all(store, first)
    store.leases.finish_begin(first.lease)
    [again] = store.leases.release(first.lease)

    assert store.leases.finish_commit(grant(store, again).lease) == (False, [])


def test_a_record_added_after_the_shard_was_written_is_not_lost(store, job, tickets):
    """In a cancelled job a range may be closed before all items in flight have ended."""
    lease = grant(store, tickets[0]).lease
    store.leases.mark(lease, [done(0)])
    store.submissions.cancel(job)
    store.leases.finish_begin(lease)
    store.leases.mark(lease, [done(1)])

    assert store.leases.finish_commit(lease) == (False, [])
    assert len(store.leases.finish_begin(lease).records) == 2
    assert store.leases.finish_commit(lease)[0]


def test_closing_lists_the_shard_and_drops_ticket_and_records(store, job, tickets, redis_client):
    claim = grant(store, tickets[0])
    mark_all(store, claim)

    assert close(store, claim.lease) == []

    assert store.queries.accepted_shards(job) == [("0-16", 1)]
    assert store.queries.open_records(job) == []
    assert not redis_client.keys(f"rmbg:job:{job}:*:0-16")
    assert store.queries.status(job).state is JobState.RUNNING


def test_shards_are_listed_in_order_of_acceptance(store, job, tickets):
    for one in reversed(tickets):
        process(store, one)

    assert store.queries.accepted_shards(job) == [("16-20", 1), ("0-16", 1)]


def test_closing_twice_has_no_effect(store, job, tickets):
    claim = grant(store, tickets[0])
    mark_all(store, claim)
    close(store, claim.lease)

    assert store.leases.finish_commit(claim.lease) == (False, [])
    assert store.queries.accepted_shards(job) == [("0-16", 1)]


def test_the_last_range_issues_the_merge_ticket(store, job, tickets):
    assert process(store, tickets[0]) == []
    [merge] = process(store, tickets[1])

    assert (merge.ticket.is_merge, merge.queue) == (True, RECOVERY)
    status = store.queries.status(job)
    assert (status.state, status.done, status.finished_at) == (JobState.FINISHING, 20, None)


def test_the_merge_ticket_waits_for_ranges_not_yet_fed(make_store):
    store = make_store(high_water_least=1)
    submit(store, 20)
    [first] = feed(store)

    assert process(store, first) == []
    [second] = feed(store)
    assert [one.ticket.is_merge for one in process(store, second)] == [True]


def test_the_merge_ticket_of_an_interactive_job_is_interactive(store):
    submit(store, 4, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    assert [merge.queue for merge in process(store, one)] == [INTERACTIVE]


@pytest.fixture
def merge(store, tickets):
    process(store, tickets[0])
    [issued] = process(store, tickets[1], failing={17})
    return issued


def test_a_merge_ticket_is_claimed_like_any_ticket(store, job, merge):
    granted = grant(store, merge, "a")

    assert not granted.is_cancelled
    assert (granted.spec, granted.ended) == (store.queries.spec(job), frozenset())
    assert store.leases.claim(merge.ticket, "b", ttl_s=30) == Refused(RefusalReason.BUSY)


def test_committing_the_merge_ends_the_job(store, job, merge):
    assert store.leases.merge_commit(grant(store, merge).lease)

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 19, 1)
    assert status.finished_at >= status.created_at


def test_the_end_of_a_job_adds_one_event(store, job, merge, redis_client):
    lease = grant(store, merge).lease

    assert [store.leases.merge_commit(lease) for _ in range(3)] == [True, False, False]
    assert events(redis_client) == [
        {
            "job_id": job,
            "event": "job.done",
            "generation": "1",
            "total": "20",
            "done": "19",
            "failed": "1",
        }
    ]


def test_one_of_many_concurrent_merges_ends_the_job(store, merge, redis_client):
    lease = grant(store, merge).lease

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: store.leases.merge_commit(lease), range(8)))

    assert sum(ended) == 1
    assert len(events(redis_client)) == 1


def test_a_merge_of_a_dead_worker_is_done_by_another(store, job, merge, redis_client):
    dead = grant(store, merge, ttl_s=0.001).lease
    [again] = until(lambda: feed(store))

    assert (again.ticket.is_merge, again.queue) == (True, RECOVERY)
    assert store.leases.merge_commit(grant(store, again).lease)
    assert not store.leases.merge_commit(dead)
    assert len(events(redis_client)) == 1


def test_a_released_merge_ticket_is_issued_again(store, job, merge):
    [again] = store.leases.release(grant(store, merge).lease, waiting_for="bucket: gone")

    assert again.ticket.is_merge
    assert store.leases.merge_commit(grant(store, again).lease)


def test_a_range_ticket_cannot_end_a_job(store, tickets):
    lease = grant(store, tickets[0]).lease

    with pytest.raises(ValueError, match="not a merge"):
        store.leases.merge_commit(lease)


def test_a_merge_ticket_cannot_be_closed_as_a_range(store, merge):
    lease = grant(store, merge).lease

    for step in (store.leases.finish_begin, store.leases.finish_commit):
        with pytest.raises(ValueError, match="merge ticket"):
            step(lease)


def test_redis_keeps_an_ended_job_for_seven_days(store, job, redis_client):
    run_to_end(store, failing={17})

    keys = redis_client.keys(f"rmbg:job:{job}*")
    assert len(keys) >= 7
    assert all(WEEK_S - 60 < redis_client.ttl(key) <= WEEK_S for key in keys)


def test_an_expired_job_leaves_only_its_event(make_store, redis_client):
    store = make_store(keep_after_end_s=0.001)
    job = submit(store, 5)
    run_to_end(store, failing={3})

    def is_forgotten():
        assert [status.job_id for status in store.queries.jobs()] in ([], [job])
        left = {key.decode() for key in redis_client.scan_iter()}
        ours = {"rmbg:sequence", "rmbg:claimed", "rmbg:longest", "rmbg:events"}
        return left <= ours | {"rmbg:served:rmbg.bulk"}

    assert until(is_forgotten)
    assert submit(store, 5) != job


def test_a_running_job_does_not_expire(store, job, tickets, redis_client):
    mark_all(store, grant(store, tickets[0]))

    assert {redis_client.ttl(key) for key in redis_client.keys(f"rmbg:job:{job}*")} == {-1}


def test_the_event_stream_is_bounded(make_store, redis_client):
    store = make_store(events_kept=1)
    redis_client.config_set("stream-node-max-entries", 10)
    for n in range(25):
        submit(store, 1, keys=f"{n}")
    run_to_end(store)
    redis_client.config_set("stream-node-max-entries", 100)

    assert redis_client.xlen("rmbg:events") < 20


# ---- failures of the merge


@pytest.fixture
def sole_merge(store):
    """The merge ticket of a job whose ranges are closed."""
    submit(store, 4)
    [issued] = process(store, feed(store)[0])
    return issued


def test_failures_of_the_merge_are_counted_for_each_document_and_error_class(store, sole_merge):
    merge, job = sole_merge, sole_merge.ticket.job_id
    for count in (1, 2):
        lease = grant(store, merge).lease
        assert store.leases.merge_failed(lease, "report.html", "ValueError") == count
        assert store.leases.merge_failed(lease, "results.jsonl", "ValueError") == count
        [merge] = store.leases.release(lease)
    lease = grant(store, merge).lease
    assert store.leases.merge_failed(lease, "report.html", "TypeError") == 1

    history = store.queries.merge_history(job)
    assert history.deaths == 0
    assert history.failures == {
        "report.html": {"ValueError": 2, "TypeError": 1},
        "results.jsonl": {"ValueError": 2},
    }


def test_a_repeated_count_of_a_failed_merge_counts_once(store, sole_merge):
    """The first answer may have been lost."""
    lease = grant(store, sole_merge).lease

    counts = [store.leases.merge_failed(lease, "report.html", "ValueError") for _ in range(3)]

    assert counts == [1, 1, 1]


def test_a_worker_without_the_lease_counts_no_failure_of_the_merge(store, sole_merge):
    lease = grant(store, sole_merge).lease
    store.leases.release(lease)

    assert store.leases.merge_failed(lease, "report.html", "ValueError") == 0
    assert store.queries.merge_history(sole_merge.ticket.job_id).failures == {}
