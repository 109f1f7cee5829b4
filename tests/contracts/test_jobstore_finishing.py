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
    run_to_end,
    submit,
    work_off,
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


def test_finishing_hands_out_the_records_in_item_order(store, tickets):
    lease = grant(store, tickets[0]).lease
    store.mark(lease, [done(i) for i in reversed(range(12, 16))])
    store.mark(lease, [done(i) for i in range(12)])

    closing = store.finish_begin(lease)

    assert closing.is_complete
    assert [json.loads(record)["index"] for record in closing.records] == list(range(16))


def test_records_come_from_redis_whoever_wrote_them(store, tickets):
    """No record dies with a worker: the first one's are in the second one's shard."""
    first = grant(store, tickets[0], "first")
    store.mark(first.lease, [done(i) for i in range(8)])
    [again] = store.release(first.lease)
    second = grant(store, again, "second")
    mark_all(store, second)

    assert len(store.finish_begin(second.lease).records) == 16


def test_an_unfinished_range_cannot_be_closed(store, job, tickets):
    lease = grant(store, tickets[0]).lease
    store.mark(lease, [done(0)])

    assert not store.finish_begin(lease).is_complete
    assert store.finish_commit(lease) == (False, [])
    assert store.accepted_shards(job) == []
    assert len(store.release(lease)) == 1


def test_a_shard_is_accepted_only_after_its_records_were_handed_out(store, tickets):
    claim = grant(store, tickets[0])
    mark_all(store, claim)

    assert store.finish_commit(claim.lease) == (False, [])


def test_a_successor_must_have_the_records_handed_out_itself(store, tickets):
    """Its shard has a name of its own, which its predecessor has not written."""
    first = grant(store, tickets[0])
    mark_all(store, first)
    store.finish_begin(first.lease)
    [again] = store.release(first.lease)

    assert store.finish_commit(grant(store, again).lease) == (False, [])


def test_a_record_that_came_after_the_shard_was_written_is_not_lost(store, job, tickets):
    """In a cancelled job a range may be closed before everything in flight has ended."""
    lease = grant(store, tickets[0]).lease
    store.mark(lease, [done(0)])
    store.cancel(job)
    store.finish_begin(lease)
    store.mark(lease, [done(1)])

    assert store.finish_commit(lease) == (False, [])
    assert len(store.finish_begin(lease).records) == 2
    assert store.finish_commit(lease)[0]


def test_closing_lists_the_shard_and_drops_ticket_and_records(store, job, tickets, redis_client):
    claim = grant(store, tickets[0])
    mark_all(store, claim)

    assert close(store, claim.lease) == []

    assert store.accepted_shards(job) == [("0-16", 1)]
    assert store.open_records(job) == []
    assert not redis_client.keys(f"rmbg:job:{job}:*:0-16")
    assert store.status(job).state is JobState.RUNNING


def test_shards_are_listed_in_order_of_acceptance(store, job, tickets):
    for one in reversed(tickets):
        work_off(store, one)

    assert store.accepted_shards(job) == [("16-20", 1), ("0-16", 1)]


def test_closing_twice_is_refused_and_harmless(store, job, tickets):
    claim = grant(store, tickets[0])
    mark_all(store, claim)
    close(store, claim.lease)

    assert store.finish_commit(claim.lease) == (False, [])
    assert store.accepted_shards(job) == [("0-16", 1)]


def test_the_last_range_issues_the_merge_ticket(store, job, tickets):
    assert work_off(store, tickets[0]) == []
    [merge] = work_off(store, tickets[1])

    assert (merge.ticket.is_merge, merge.queue) == (True, RECOVERY)
    status = store.status(job)
    assert (status.state, status.done, status.finished_at) == (JobState.FINISHING, 20, None)


def test_the_merge_ticket_waits_for_ranges_that_are_not_fed_yet(make_store):
    store = make_store(high_water_least=1)
    submit(store, 20)
    [first] = feed(store)

    assert work_off(store, first) == []
    [second] = feed(store)
    assert [one.ticket.is_merge for one in work_off(store, second)] == [True]


def test_an_interactive_jobs_merge_is_interactive_too(store):
    submit(store, 4, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    assert [merge.queue for merge in work_off(store, one)] == [INTERACTIVE]


@pytest.fixture
def merge(store, tickets):
    work_off(store, tickets[0])
    [issued] = work_off(store, tickets[1], failing={17})
    return issued


def test_a_merge_is_claimed_like_any_ticket(store, job, merge):
    granted = grant(store, merge, "a")

    assert not granted.is_cancelled
    assert (granted.spec, granted.ended) == (store.spec(job), frozenset())
    assert store.claim(merge.ticket, "b", ttl_s=30) == Refused(RefusalReason.BUSY)


def test_committing_the_merge_ends_the_job(store, job, merge):
    assert store.merge_commit(grant(store, merge).lease)

    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 19, 1)
    assert status.finished_at >= status.created_at


def test_a_jobs_end_is_told_once(store, job, merge, redis_client):
    lease = grant(store, merge).lease

    assert [store.merge_commit(lease) for _ in range(3)] == [True, False, False]
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


def test_of_many_merges_at_once_one_ends_the_job(store, merge, redis_client):
    lease = grant(store, merge).lease

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: store.merge_commit(lease), range(8)))

    assert sum(ended) == 1
    assert len(events(redis_client)) == 1


def test_a_merge_whose_worker_dies_is_done_by_another(store, job, merge, redis_client):
    dead = grant(store, merge, ttl_s=0.001).lease
    [again] = until(lambda: feed(store))

    assert (again.ticket.is_merge, again.queue) == (True, RECOVERY)
    assert store.merge_commit(grant(store, again).lease)
    assert not store.merge_commit(dead)
    assert len(events(redis_client)) == 1


def test_a_merge_that_is_given_back_is_issued_again(store, job, merge):
    [again] = store.release(grant(store, merge).lease, waiting_for="bucket: gone")

    assert again.ticket.is_merge
    assert store.merge_commit(grant(store, again).lease)


def test_an_item_ticket_ends_no_job(store, tickets):
    lease = grant(store, tickets[0]).lease

    with pytest.raises(ValueError, match="not a merge"):
        store.merge_commit(lease)


def test_a_merge_ticket_is_no_range(store, merge):
    lease = grant(store, merge).lease

    for step in (store.finish_begin, store.finish_commit):
        with pytest.raises(ValueError, match="merge ticket"):
            step(lease)


def test_redis_forgets_an_ended_job_after_seven_days(store, job, redis_client):
    run_to_end(store, failing={17})

    keys = redis_client.keys(f"rmbg:job:{job}*")
    assert len(keys) >= 7
    assert all(WEEK_S - 60 < redis_client.ttl(key) <= WEEK_S for key in keys)


def test_a_forgotten_job_leaves_nothing_behind_but_its_event(make_store, redis_client):
    store = make_store(keep_after_end_s=0.001)
    job = submit(store, 5)
    run_to_end(store, failing={3})

    def is_forgotten():
        assert [status.job_id for status in store.jobs()] in ([], [job])
        left = {key.decode() for key in redis_client.scan_iter()}
        return left <= {"rmbg:sequence", "rmbg:claimed", "rmbg:longest", "rmbg:events"}

    assert until(is_forgotten)
    assert submit(store, 5) != job


def test_a_running_job_is_kept_for_ever(store, job, tickets, redis_client):
    mark_all(store, grant(store, tickets[0]))

    assert {redis_client.ttl(key) for key in redis_client.keys(f"rmbg:job:{job}*")} == {-1}


def test_the_stream_of_events_does_not_grow_for_ever(make_store, redis_client):
    store = make_store(events_kept=1)
    redis_client.config_set("stream-node-max-entries", 10)
    for n in range(25):
        submit(store, 1, keys=f"{n}")
    run_to_end(store)
    redis_client.config_set("stream-node-max-entries", 100)

    assert redis_client.xlen("rmbg:events") < 20
