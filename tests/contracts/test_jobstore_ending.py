"""Cancelling jobs, and retrying failed items."""

import json

import pytest
from support.jobs import (
    close,
    done,
    events,
    failed,
    failed_indexes,
    feed,
    grant,
    mark_all,
    process,
    run_to_end,
    submit,
    worker,
)
from support.until import until

from shared.broker.queues import INTERACTIVE, QUEUES, RECOVERY
from shared.errors import JobNotDone
from shared.job.spec import JobState, Priority
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused


def state(store, job):
    return store.queries.status(job).state


# ---- cancel


def test_a_job_without_started_items_is_cancelled_at_once(store, redis_client):
    """Its tickets are dropped; only the merge is left."""
    job = submit(store, 10_000)
    waiting = feed(store)

    store.submissions.cancel(job)

    assert store.leases.claim(waiting[0].ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
    assert state(store, job) is JobState.FINISHING
    [merge] = feed(store)
    assert merge.ticket.is_merge
    process(store, merge)
    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 0, 0)
    assert status.finished_at
    assert [event["event"] for event in events(redis_client)] == ["job.cancelled"]


def test_ranges_not_yet_fed_are_never_fed_after_a_cancellation(make_store):
    store = make_store(high_water_least=1)
    job = submit(store, 100)
    [one] = feed(store)
    lease = grant(store, one).lease

    store.submissions.cancel(job)

    assert feed(store) == []
    assert [merge.ticket.is_merge for merge in close(store, lease)] == [True]


def test_items_in_flight_at_a_cancellation_are_counted_and_recorded(store):
    job = submit(store, 40)
    first, second, _ = feed(store)
    in_flight = grant(store, first).lease
    idle = grant(store, second).lease
    store.leases.mark(in_flight, [done(0)])

    store.submissions.cancel(job)

    assert store.leases.mark(in_flight, [done(1), failed(2)]) is MarkAnswer.CANCELLED
    closing = store.leases.finish_begin(in_flight)
    assert closing.is_complete
    assert [json.loads(record)["index"] for record in closing.records] == [0, 1, 2]
    assert store.leases.finish_commit(in_flight) == (True, [])
    [merge] = close(store, idle)
    process(store, merge)
    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 2, 1)


def test_a_closed_range_without_records_has_no_shard(store):
    """No worker needs to write an empty one."""
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.submissions.cancel(job)

    close(store, lease)

    assert store.queries.accepted_shards(job) == []


def test_a_queued_ticket_with_records_is_granted_for_closing_only(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(3)])
    [again] = store.leases.release(lease)

    store.submissions.cancel(job)

    claim = store.leases.claim(again.ticket, "w", ttl_s=30)
    assert (claim.is_cancelled, claim.ended) == (True, {3})
    close(store, claim.lease)
    assert [unit for unit, _ in store.queries.accepted_shards(job)] == ["0-10"]


def test_a_delayed_ticket_with_records_is_issued_at_once_after_a_cancellation(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(3)])
    store.leases.release(lease, delay_s=3600)

    store.submissions.cancel(job)

    [again] = feed(store)
    assert grant(store, again).is_cancelled


def test_a_ticket_released_without_records_is_dropped(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.submissions.cancel(job)

    [merge] = store.leases.release(lease, delay_s=3600)

    assert merge.ticket.is_merge


def test_a_ticket_released_with_records_is_issued_for_closing(store):
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(3)])
    store.submissions.cancel(job)

    [again] = store.leases.release(lease)

    assert again.queue == RECOVERY
    assert grant(store, again).is_cancelled


def test_a_range_of_a_cancelled_job_is_delayed_when_its_shard_cannot_be_written(store):
    """Otherwise workers would claim it as fast as the bucket fails."""
    job = submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(3)])
    store.submissions.cancel(job)

    assert store.leases.release(lease, delay_s=3600) == []
    assert feed(store) == []


def test_a_merge_of_a_cancelled_job_is_delayed_when_it_cannot_be_written(store):
    job = submit(store, 10)
    store.submissions.cancel(job)
    [merge] = feed(store)

    assert store.leases.release(grant(store, merge).lease, delay_s=0.05) == []

    [again] = until(lambda: feed(store))
    process(store, again)
    assert state(store, job) is JobState.CANCELLED


@pytest.mark.parametrize("records", [0, 2])
def test_a_cancelled_job_ends_after_the_death_of_a_worker(store, records):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    store.leases.mark(claim.lease, [done(i) for i in range(records)])
    store.submissions.cancel(job)
    store.leases.beat([claim.lease], ttl_s=0.001)

    run_to_end(store, issued=until(lambda: feed(store)))

    status = store.queries.status(job)
    assert (status.state, status.done) == (JobState.CANCELLED, records)
    assert len(store.queries.accepted_shards(job)) == min(records, 1)


def test_a_range_of_a_cancelled_job_is_never_suspect(store, redis_client):
    """No image is left that could kill a worker."""
    job = submit(store, 10)
    [one] = feed(store)
    store.leases.mark(grant(store, one).lease, [done(3)])
    store.submissions.cancel(job)
    for _ in range(4):
        [(member, _)] = redis_client.zrange("rmbg:leased", 0, 0, withscores=True)
        redis_client.zadd("rmbg:leased", {member: 0})
        [one] = feed(store)
        assert one.queue == RECOVERY
        grant(store, one)


def test_a_second_cancellation_changes_nothing(store, redis_client):
    job = submit(store, 40)
    first, *_ = feed(store)
    claim = grant(store, first)
    mark_all(store, claim)
    for _ in range(3):
        store.submissions.cancel(job)
    run_to_end(store, issued=close(store, claim.lease))

    store.submissions.cancel(job)

    assert state(store, job) is JobState.CANCELLED
    assert feed(store, empty_queues=QUEUES) == []
    assert len(events(redis_client)) == 1


def test_a_cancellation_has_no_effect_once_all_items_have_ended(store):
    """The merge continues, and the job is done."""
    job = submit(store, 10)
    [one] = feed(store)
    [merge] = process(store, one)

    store.submissions.cancel(job)
    process(store, merge)

    assert state(store, job) is JobState.DONE


def test_a_cancellation_has_no_effect_before_the_last_complete_range_is_closed(store):
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim, failing={4})

    store.submissions.cancel(job)
    run_to_end(store, issued=close(store, claim.lease))

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 9, 1)


def test_cancelling_a_done_job_changes_nothing(store):
    job = submit(store, 10)
    run_to_end(store)

    store.submissions.cancel(job)

    assert state(store, job) is JobState.DONE
    assert store.queries.status(job).done == 10


def test_a_claim_of_the_merge_ticket_is_not_marked_as_cancelled(store):
    job = submit(store, 10)
    store.submissions.cancel(job)
    [merge] = feed(store)

    assert not grant(store, merge).is_cancelled


def test_cancelling_one_job_does_not_affect_others(store):
    gone, kept = submit(store, 40, keys="gone"), submit(store, 40, keys="kept")
    issued = feed(store)
    store.submissions.cancel(gone)

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
    """Return the open items of the next tickets."""
    claims = [grant(store, one) for one in feed(store)]
    return {index for claim in claims for index in set(claim.lease.ticket.span) - claim.ended}


def test_a_retry_feeds_only_failed_items(store, job):
    assert store.submissions.retry(job) == 3
    assert fed_items(store) == {3, 4, 30}


def test_a_retried_job_runs_again_with_exact_counters(store, job):
    store.submissions.retry(job)

    status = store.queries.status(job)
    assert (status.state, status.generation) == (JobState.RUNNING, 2)
    assert (status.total, status.done, status.failed) == (40, 37, 0)
    assert (status.error_classes, status.verdicts) == ({}, {"good": 37})
    assert (status.finished_at, failed_indexes(store, job)) == (None, [])


def test_a_retried_job_ends_again_with_a_second_event(store, job, redis_client):
    store.submissions.retry(job)
    run_to_end(store, failing={30})

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 39, 1)
    assert status.error_classes == {"UndecodableImage": 1}
    assert status.verdicts == {"good": 39}
    assert failed_indexes(store, job) == [30]
    assert [(e["event"], e["generation"], e["failed"]) for e in events(redis_client)] == [
        ("job.done", "1", "3"),
        ("job.done", "2", "1"),
    ]


def test_a_retry_reuses_no_shard_name(store):
    """The earlier shard of the same range holds the records of done items."""
    job = submit(store, 4)
    for _ in range(3):
        run_to_end(store, failing=set(range(4)))
        assert store.submissions.retry(job) == 4
    run_to_end(store)

    assert store.queries.accepted_shards(job) == [("0-4", 1), ("0-4", 2), ("0-4", 3), ("0-4", 4)]


def test_a_retry_after_recoveries_reuses_no_shard_name(store):
    job = submit(store, 4)
    [one] = feed(store)
    for _ in range(5):
        [one] = store.leases.release(grant(store, one).lease)
    run_to_end(store, failing={0, 1, 2, 3}, issued=[one])
    store.submissions.retry(job)
    run_to_end(store)

    assert store.queries.accepted_shards(job) == [("0-4", 6), ("0-4", 7)]


def test_messages_of_an_earlier_generation_are_stale(store):
    submit(store, 4, job_id="j")
    [earlier] = feed(store)
    run_to_end(store, failing={0, 1, 2, 3}, issued=[earlier])
    store.submissions.retry("j")
    feed(store)

    assert store.leases.claim(earlier.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)


def test_a_retried_job_does_not_expire_before_it_ends_again(store, job, redis_client):
    def lifetimes():
        keys = redis_client.keys(f"rmbg:job:{job}*") + redis_client.keys("rmbg:derived:*")
        return [redis_client.ttl(key) for key in keys]

    store.submissions.retry(job)
    assert set(lifetimes()) == {-1}

    run_to_end(store)

    assert min(lifetimes()) > 0


def test_a_retry_of_a_job_without_failures_changes_nothing(store, redis_client):
    job = submit(store, 4)
    run_to_end(store)

    assert store.submissions.retry(job) == 0

    status = store.queries.status(job)
    assert (status.state, status.generation) == (JobState.DONE, 1)
    assert feed(store) == []
    assert redis_client.ttl(f"rmbg:job:{job}") > 0


def test_a_running_job_cannot_be_retried(store):
    job = submit(store, 4)

    with pytest.raises(JobNotDone, match="running"):
        store.submissions.retry(job)


def test_a_second_retry_is_rejected(store, job):
    store.submissions.retry(job)

    with pytest.raises(JobNotDone, match="running"):
        store.submissions.retry(job)

    assert store.queries.status(job).generation == 2


def test_a_finishing_job_cannot_be_retried(store):
    job = submit(store, 4)
    [one] = feed(store)
    process(store, one, failing={0})

    with pytest.raises(JobNotDone, match="finishing"):
        store.submissions.retry(job)


def test_a_cancelled_job_cannot_be_retried(store):
    """Cancelled is final."""
    job = submit(store, 20)
    one, *_ = feed(store)
    process(store, one, failing={0})
    store.submissions.cancel(job)
    run_to_end(store)

    with pytest.raises(JobNotDone, match="cancelled"):
        store.submissions.retry(job)

    assert store.queries.status(job).failed == 1


def test_a_retried_job_can_be_cancelled(store, job):
    store.submissions.retry(job)
    store.submissions.cancel(job)
    run_to_end(store)

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.CANCELLED, 37, 0)


def test_an_interactive_jobs_retry_is_interactive(store):
    job = submit(store, 4, priority=Priority.INTERACTIVE)
    run_to_end(store, failing={1})
    store.submissions.retry(job)

    assert [one.queue for one in feed(store)] == [INTERACTIVE]


def test_a_retry_of_scattered_failures_feeds_each_item_once(store):
    """With tickets of the maximum size."""
    store.fleet.register(worker(slots=1, images_per_s=1000.0), ttl_s=60)
    failing = set(range(0, 3000, 7)) | {1, 2, 2999}
    job = submit(store, 3000)
    run_to_end(store, failing=failing)

    assert store.submissions.retry(job) == len(failing)
    claims = [grant(store, one) for one in feed(store)]
    fed = [i for c in claims for i in c.lease.ticket.span if i not in c.ended]

    assert sorted(fed) == sorted(failing)
