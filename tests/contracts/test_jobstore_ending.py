"""Cancelling a job, and retrying what failed."""

import json

import pytest
from support.jobs import (
    close,
    done,
    events,
    failed,
    feed,
    grant,
    mark_all,
    run_to_end,
    submit,
    work_off,
    worker,
)
from support.until import until

from shared.broker.queues import INTERACTIVE, QUEUES, RECOVERY
from shared.errors import JobNotDone
from shared.job.spec import JobState, Priority
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused


def state(store, job):
    return store.status(job).state


# ---- cancel


def test_a_job_that_nobody_has_begun_is_cancelled_at_once(store, redis_client):
    """Its tickets are dropped; only the merge is left to do."""
    job = submit(store, 10_000)
    waiting = feed(store)

    store.cancel(job)

    assert store.claim(waiting[0].ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
    assert state(store, job) is JobState.FINISHING
    [merge] = feed(store)
    assert merge.ticket.is_merge
    work_off(store, merge)
    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 0, 0)
    assert status.finished_at
    assert [event["event"] for event in events(redis_client)] == ["job.cancelled"]


def test_ranges_that_were_not_fed_are_never_fed(make_store):
    store = make_store(high_water_least=1)
    job = submit(store, 100)
    [one] = feed(store)
    lease = grant(store, one).lease

    store.cancel(job)

    assert feed(store) == []
    assert [merge.ticket.is_merge for merge in close(store, lease)] == [True]


def test_what_was_in_flight_counts_and_is_recorded(store):
    job = submit(store, 40)
    first, second, _ = feed(store)
    in_flight = grant(store, first).lease
    idle = grant(store, second).lease
    store.mark(in_flight, [done(0)])

    store.cancel(job)

    assert store.mark(in_flight, [done(1), failed(2)]) is MarkAnswer.CANCELLED
    closing = store.finish_begin(in_flight)
    assert closing.is_complete
    assert [json.loads(record)["index"] for record in closing.records] == [0, 1, 2]
    assert store.finish_commit(in_flight) == (True, [])
    [merge] = close(store, idle)
    work_off(store, merge)
    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 2, 1)


def test_a_closed_range_without_records_has_no_shard(store):
    """Nobody needs to write an empty one."""
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.cancel(job)

    close(store, lease)

    assert store.accepted_shards(job) == []


def test_a_waiting_ticket_with_records_is_claimed_for_closing_only(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(3)])
    [again] = store.release(lease)

    store.cancel(job)

    claim = store.claim(again.ticket, "w", ttl_s=30)
    assert (claim.is_cancelled, claim.ended) == (True, {3})
    close(store, claim.lease)
    assert [unit for unit, _ in store.accepted_shards(job)] == ["0-10"]


def test_a_resting_ticket_with_records_rests_no_longer(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(3)])
    store.release(lease, delay_s=3600)

    store.cancel(job)

    [again] = feed(store)
    assert grant(store, again).is_cancelled


def test_a_ticket_given_back_without_records_is_dropped(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.cancel(job)

    [merge] = store.release(lease, delay_s=3600)

    assert merge.ticket.is_merge


def test_a_ticket_given_back_with_records_is_issued_for_closing(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(3)])
    store.cancel(job)

    [again] = store.release(lease)

    assert again.queue == RECOVERY
    assert grant(store, again).is_cancelled


def test_a_range_of_a_cancelled_job_whose_shard_cannot_be_put_rests(store):
    """Otherwise it goes round as fast as the bucket fails."""
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(3)])
    store.cancel(job)

    assert store.release(lease, delay_s=3600) == []
    assert feed(store) == []


def test_a_merge_of_a_cancelled_job_that_cannot_be_put_rests(store):
    job = submit(store, 10)
    store.cancel(job)
    [merge] = feed(store)

    assert store.release(grant(store, merge).lease, delay_s=0.05) == []

    [again] = until(lambda: feed(store))
    work_off(store, again)
    assert state(store, job) is JobState.CANCELLED


@pytest.mark.parametrize("records", [0, 2])
def test_a_worker_that_dies_in_a_cancelled_job_leaves_it_able_to_end(store, records):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    store.mark(claim.lease, [done(i) for i in range(records)])
    store.cancel(job)
    store.beat([claim.lease], ttl_s=0.001)

    run_to_end(store, issued=until(lambda: feed(store)))

    status = store.status(job)
    assert (status.state, status.done) == (JobState.CANCELLED, records)
    assert len(store.accepted_shards(job)) == min(records, 1)


def test_in_a_cancelled_job_nobody_is_suspected(store, redis_client):
    """There is no image left to die of."""
    job = submit(store, 10)
    [one] = feed(store)
    store.mark(grant(store, one).lease, [done(3)])
    store.cancel(job)
    for _ in range(4):
        [(member, _)] = redis_client.zrange("rmbg:leased", 0, 0, withscores=True)
        redis_client.zadd("rmbg:leased", {member: 0})
        [one] = feed(store)
        assert one.queue == RECOVERY
        grant(store, one)


def test_cancelling_again_changes_nothing(store, redis_client):
    job = submit(store, 40)
    first, *_ = feed(store)
    claim = grant(store, first)
    mark_all(store, claim)
    for _ in range(3):
        store.cancel(job)
    run_to_end(store, issued=close(store, claim.lease))

    store.cancel(job)

    assert state(store, job) is JobState.CANCELLED
    assert feed(store, empty_queues=QUEUES) == []
    assert len(events(redis_client)) == 1


def test_cancelling_comes_too_late_when_all_items_have_ended(store):
    """Its merge goes on, and the job is done."""
    job = submit(store, 10)
    [one] = feed(store)
    [merge] = work_off(store, one)

    store.cancel(job)
    work_off(store, merge)

    assert state(store, job) is JobState.DONE


def test_cancelling_comes_too_late_though_the_last_range_is_not_closed(store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim, failing={4})

    store.cancel(job)
    run_to_end(store, issued=close(store, claim.lease))

    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 9, 1)


def test_cancelling_a_done_job_changes_nothing(store):
    job = submit(store, 10)
    run_to_end(store)

    store.cancel(job)

    assert state(store, job) is JobState.DONE
    assert store.status(job).done == 10


def test_a_merge_of_a_cancelled_job_is_claimed_to_be_done(store):
    job = submit(store, 10)
    store.cancel(job)
    [merge] = feed(store)

    assert not grant(store, merge).is_cancelled


def test_cancelling_one_job_leaves_the_others_alone(store):
    gone, kept = submit(store, 40, keys="gone"), submit(store, 40, keys="kept")
    issued = feed(store)
    store.cancel(gone)

    run_to_end(store, issued=[one for one in issued if one.ticket.job_id == kept])

    assert (state(store, gone), state(store, kept)) == (JobState.CANCELLED, JobState.DONE)


# ---- retry


@pytest.fixture
def job(store):
    """A done job of 40 items of which 3, 4 and 30 failed."""
    job = submit(store, 40)
    run_to_end(store, failing={3, 4, 30})
    return job


def fed_items(store):
    """Items that the next tickets ask for."""
    claims = [grant(store, one) for one in feed(store)]
    return {index for claim in claims for index in set(claim.lease.ticket.span) - claim.ended}


def test_a_retry_feeds_only_what_failed(store, job):
    assert store.retry(job) == 3
    assert fed_items(store) == {3, 4, 30}


def test_a_retried_job_runs_again_with_exact_counters(store, job):
    store.retry(job)

    status = store.status(job)
    assert (status.state, status.generation) == (JobState.RUNNING, 2)
    assert (status.total, status.done, status.failed) == (40, 37, 0)
    assert (status.error_classes, status.verdicts) == ({}, {"good": 37})
    assert (status.finished_at, list(store.failed_indexes(job))) == (None, [])


def test_a_retried_job_ends_again_and_says_so_again(store, job, redis_client):
    store.retry(job)
    run_to_end(store, failing={30})

    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 39, 1)
    assert status.error_classes == {"UndecodableImage": 1}
    assert status.verdicts == {"good": 39}
    assert list(store.failed_indexes(job)) == [30]
    assert [(e["event"], e["generation"], e["failed"]) for e in events(redis_client)] == [
        ("job.done", "1", "3"),
        ("job.done", "2", "1"),
    ]


def test_a_retry_writes_no_shard_under_an_earlier_ones_name(store):
    """The earlier shard of the same range holds the records of what was done."""
    job = submit(store, 4)
    for _ in range(3):
        run_to_end(store, failing=set(range(4)))
        assert store.retry(job) == 4
    run_to_end(store)

    assert store.accepted_shards(job) == [("0-4", 1), ("0-4", 2), ("0-4", 3), ("0-4", 4)]


def test_a_retry_after_recoveries_still_writes_no_shard_twice(store):
    job = submit(store, 4)
    [one] = feed(store)
    for _ in range(5):
        [one] = store.release(grant(store, one).lease)
    run_to_end(store, failing={0, 1, 2, 3}, issued=[one])
    store.retry(job)
    run_to_end(store)

    assert store.accepted_shards(job) == [("0-4", 6), ("0-4", 7)]


def test_messages_of_the_earlier_generation_are_stale(store):
    submit(store, 4, job_id="j")
    [earlier] = feed(store)
    run_to_end(store, failing={0, 1, 2, 3}, issued=[earlier])
    store.retry("j")
    feed(store)

    assert store.claim(earlier.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)


def test_a_retried_job_is_kept_until_it_has_ended_again(store, job, redis_client):
    def lifetimes():
        keys = redis_client.keys(f"rmbg:job:{job}*") + redis_client.keys("rmbg:derived:*")
        return [redis_client.ttl(key) for key in keys]

    store.retry(job)
    assert set(lifetimes()) == {-1}

    run_to_end(store)

    assert min(lifetimes()) > 0


def test_a_retry_of_a_job_without_failures_changes_nothing(store, redis_client):
    job = submit(store, 4)
    run_to_end(store)

    assert store.retry(job) == 0

    status = store.status(job)
    assert (status.state, status.generation) == (JobState.DONE, 1)
    assert feed(store) == []
    assert redis_client.ttl(f"rmbg:job:{job}") > 0


def test_a_running_job_cannot_be_retried(store):
    job = submit(store, 4)

    with pytest.raises(JobNotDone, match="running"):
        store.retry(job)


def test_a_retry_that_is_asked_for_twice_happens_once(store, job):
    store.retry(job)

    with pytest.raises(JobNotDone, match="running"):
        store.retry(job)

    assert store.status(job).generation == 2


def test_a_finishing_job_cannot_be_retried(store):
    job = submit(store, 4)
    [one] = feed(store)
    work_off(store, one, failing={0})

    with pytest.raises(JobNotDone, match="finishing"):
        store.retry(job)


def test_a_cancelled_job_cannot_be_retried(store):
    """Cancelled is final."""
    job = submit(store, 20)
    one, *_ = feed(store)
    work_off(store, one, failing={0})
    store.cancel(job)
    run_to_end(store)

    with pytest.raises(JobNotDone, match="cancelled"):
        store.retry(job)

    assert store.status(job).failed == 1


def test_a_retried_job_can_be_cancelled(store, job):
    store.retry(job)
    store.cancel(job)
    run_to_end(store)

    status = store.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 37, 0)


def test_an_interactive_jobs_retry_is_interactive(store):
    job = submit(store, 4, priority=Priority.INTERACTIVE)
    run_to_end(store, failing={1})
    store.retry(job)

    assert [one.queue for one in feed(store)] == [INTERACTIVE]


def test_a_retry_of_many_scattered_failures_feeds_each_once(store):
    """With tickets as large as they get."""
    store.register(worker(slots=1, images_per_s=1000.0), ttl_s=60)
    failing = set(range(0, 3000, 7)) | {1, 2, 2999}
    job = submit(store, 3000)
    run_to_end(store, failing=failing)

    assert store.retry(job) == len(failing)
    claims = [grant(store, one) for one in feed(store)]
    fed = [i for c in claims for i in c.lease.ticket.span if i not in c.ended]

    assert sorted(fed) == sorted(failing)
