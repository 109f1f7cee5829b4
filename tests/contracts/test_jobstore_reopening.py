"""Reopening a done job for done items with missing or damaged outputs."""

from functools import partial

import pytest
from support.jobs import (
    close,
    done,
    events,
    failed,
    failed_indexes,
    feed,
    grant,
    process,
    run_to_end,
    submit,
)

from shared.errors import JobNotDone, UnknownJob
from shared.job.spec import JobState


def bitmap(*indexes):
    bits = bytearray(max(indexes) // 8 + 1)
    for index in indexes:
        bits[index // 8] |= 0x80 >> index % 8
    return bytes(bits)


@pytest.fixture
def job(store):
    """A done job of 40 items: 3 and 30 have failed, the other even ones are to be reviewed."""
    job = submit(store, 40)
    todo = feed(store)
    while todo:
        one = todo.pop(0)
        if one.ticket.is_merge:
            process(store, one)
            continue
        claim = grant(store, one)
        ended = [
            failed(i) if i in (3, 30) else done(i, verdict="good" if i % 2 else "review")
            for i in one.ticket.span
        ]
        store.leases.mark(claim.lease, ended)
        todo += close(store, claim.lease) + feed(store)
    assert store.queries.status(job).verdicts == {"good": 19, "review": 19}
    return job


def reopen(store, job, *indexes, generation=1, **verdicts):
    return store.submissions.reopen(job, bitmap(*indexes), generation=generation, verdicts=verdicts)


def fed_items(store):
    claims = [grant(store, one) for one in feed(store)]
    return {index for claim in claims for index in set(claim.lease.ticket.span) - claim.ended}


def test_only_the_given_items_are_fed_again(store, job):
    assert reopen(store, job, 2, 9, 39, good=2, review=1) == 3
    assert fed_items(store) == {2, 9, 39}


def test_a_repair_outdates_the_outputs_of_earlier_generations_and_a_retry_does_not(store, job):
    store.submissions.retry(job)
    todo, seen = feed(store), set()
    while todo:
        one = todo.pop(0)
        if one.ticket.is_merge:
            process(store, one)
            continue
        claim = grant(store, one)
        seen.add((claim.generation, claim.repaired))
        ended = [done(i) for i in set(one.ticket.span) - claim.ended]
        store.leases.mark(claim.lease, ended)
        todo += close(store, claim.lease) + feed(store)
    assert seen == {(2, 1)}

    reopen(store, job, 2, generation=2, good=1)

    assert {(c.generation, c.repaired) for c in map(partial(grant, store), feed(store))} == {(3, 3)}


def test_counters_are_reduced_by_the_reopened_items(store, job):
    reopen(store, job, 2, 9, 39, good=2, review=1)

    status = store.queries.status(job)
    assert (status.state, status.generation) == (JobState.RUNNING, 2)
    assert (status.total, status.done, status.failed) == (40, 35, 2)
    assert status.verdicts == {"good": 17, "review": 18}
    assert status.error_classes == {"UndecodableImage": 2}
    assert status.finished_at is None
    assert failed_indexes(store, job) == [3, 30]


def test_a_reopened_job_ends_again_with_exact_counters_and_an_event(store, job, redis_client):
    reopen(store, job, 2, 9, 39, good=2, review=1)
    run_to_end(store, failing={9})

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 37, 3)
    assert status.verdicts == {"good": 19, "review": 18}
    assert [(e["generation"], e["done"]) for e in events(redis_client)] == [
        ("1", "38"),
        ("2", "37"),
    ]


def test_a_verdict_without_items_is_removed(store):
    job = submit(store, 2)
    run_to_end(store)

    reopen(store, job, 0, 1, good=2)

    assert store.queries.status(job).verdicts == {}


def test_reopening_leaves_no_temporary_keys(store, job, redis_client):
    before = set(redis_client.keys())
    reopen(store, job, 2, review=1)
    run_to_end(store)

    assert set(redis_client.keys()) == before


def test_a_reopened_job_does_not_expire_before_it_ends_again(store, job, redis_client):
    reopen(store, job, 2, review=1)
    assert {redis_client.ttl(key) for key in redis_client.keys(f"rmbg:job:{job}*")} == {-1}

    run_to_end(store)
    assert all(redis_client.ttl(key) > 0 for key in redis_client.keys(f"rmbg:job:{job}*"))


@pytest.mark.parametrize(
    ("indexes", "generation"),
    [((2,), 2), ((2, 3), 1), ((2, 40), 1), ((4000,), 1)],
    ids=["another generation", "a failed item", "an unknown item", "an item beyond the end"],
)
def test_a_bitmap_that_does_not_match_the_job_is_rejected(
    store, job, redis_client, indexes, generation
):
    """The job has been reopened since, or the bitmap belongs to another job."""
    before = (store.queries.status(job), set(redis_client.keys()))

    with pytest.raises(JobNotDone, match="since it was checked"):
        reopen(store, job, *indexes, generation=generation, review=1)

    assert (store.queries.status(job), set(redis_client.keys())) == before
    assert redis_client.bitcount(f"rmbg:job:{job}:ended") == 40


def test_reopening_for_no_item_changes_nothing(store, job):
    before = store.queries.status(job)

    assert store.submissions.reopen(job, b"\0\0", generation=1, verdicts={}) == 0

    assert store.queries.status(job) == before


def test_a_second_reopening_is_rejected(store, job):
    reopen(store, job, 2, review=1)

    with pytest.raises(JobNotDone, match="running"):
        reopen(store, job, 2, review=1)

    assert (store.queries.status(job).done, store.queries.status(job).generation) == (37, 2)


def test_a_cancelled_job_cannot_be_reopened(store):
    job = submit(store, 20)
    process(store, feed(store)[0])
    store.submissions.cancel(job)
    run_to_end(store)

    with pytest.raises(JobNotDone, match="cancelled"):
        reopen(store, job, 0, good=1)


def test_an_unknown_job_raises(store):
    with pytest.raises(UnknownJob):
        reopen(store, "absent", 0)


def test_a_reopening_and_a_retry_can_follow_each_other(store, job):
    reopen(store, job, 2, review=1)
    run_to_end(store)
    assert store.submissions.retry(job) == 2
    run_to_end(store)
    assert reopen(store, job, 3, generation=3, good=1) == 1
    run_to_end(store)

    status = store.queries.status(job)
    assert (status.done, status.failed, status.generation) == (40, 0, 4)
