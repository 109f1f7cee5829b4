"""Opening a done job again for done items that the bucket does not hold as it should."""

import pytest
from support.jobs import close, done, events, failed, feed, grant, run_to_end, submit, work_off

from shared.errors import JobNotDone, UnknownJob
from shared.job.spec import JobState


def bitmap(*indexes):
    bits = bytearray(max(indexes) // 8 + 1)
    for index in indexes:
        bits[index // 8] |= 0x80 >> index % 8
    return bytes(bits)


@pytest.fixture
def job(store):
    """A done job of 40 items: 3 and 30 have failed, the even ones of the others are doubtful."""
    job = submit(store, 40)
    todo = feed(store)
    while todo:
        one = todo.pop(0)
        if one.ticket.is_merge:
            work_off(store, one)
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


def test_only_the_named_items_are_fed_again(store, job):
    assert reopen(store, job, 2, 9, 39, good=2, review=1) == 3
    assert fed_items(store) == {2, 9, 39}


def test_counters_are_those_of_the_items_that_are_left(store, job):
    reopen(store, job, 2, 9, 39, good=2, review=1)

    status = store.queries.status(job)
    assert (status.state, status.generation) == (JobState.RUNNING, 2)
    assert (status.total, status.done, status.failed) == (40, 35, 2)
    assert status.verdicts == {"good": 17, "review": 18}
    assert status.error_classes == {"UndecodableImage": 2}
    assert status.finished_at is None
    assert list(store.queries.failed_indexes(job)) == [3, 30]


def test_the_job_ends_again_with_exact_counters_and_says_so(store, job, redis_client):
    reopen(store, job, 2, 9, 39, good=2, review=1)
    run_to_end(store, failing={9})

    status = store.queries.status(job)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 37, 3)
    assert status.verdicts == {"good": 19, "review": 18}
    assert [(e["generation"], e["done"]) for e in events(redis_client)] == [
        ("1", "38"),
        ("2", "37"),
    ]


def test_a_verdict_that_nobody_has_any_more_is_gone(store):
    job = submit(store, 2)
    run_to_end(store)

    reopen(store, job, 0, 1, good=2)

    assert store.queries.status(job).verdicts == {}


def test_nothing_but_the_jobs_own_parts_is_left_behind(store, job, redis_client):
    before = set(redis_client.keys())
    reopen(store, job, 2, review=1)
    run_to_end(store)

    assert set(redis_client.keys()) == before


def test_an_opened_job_is_kept_until_it_has_ended_again(store, job, redis_client):
    reopen(store, job, 2, review=1)
    assert {redis_client.ttl(key) for key in redis_client.keys(f"rmbg:job:{job}*")} == {-1}

    run_to_end(store)
    assert all(redis_client.ttl(key) > 0 for key in redis_client.keys(f"rmbg:job:{job}*"))


@pytest.mark.parametrize(
    ("indexes", "generation"),
    [((2,), 2), ((2, 3), 1), ((2, 40), 1), ((4000,), 1)],
    ids=["another generation", "a failed item", "an item too many", "an item far off"],
)
def test_what_does_not_fit_the_job_is_refused_whole(store, job, redis_client, indexes, generation):
    """Somebody has opened it since, or the list is of another job."""
    before = (store.queries.status(job), set(redis_client.keys()))

    with pytest.raises(JobNotDone, match="since it was checked"):
        reopen(store, job, *indexes, generation=generation, review=1)

    assert (store.queries.status(job), set(redis_client.keys())) == before
    assert redis_client.bitcount(f"rmbg:job:{job}:ended") == 40


def test_opening_it_for_no_item_changes_nothing(store, job):
    before = store.queries.status(job)

    assert store.submissions.reopen(job, b"\0\0", generation=1, verdicts={}) == 0

    assert store.queries.status(job) == before


def test_asked_for_twice_it_happens_once(store, job):
    reopen(store, job, 2, review=1)

    with pytest.raises(JobNotDone, match="running"):
        reopen(store, job, 2, review=1)

    assert (store.queries.status(job).done, store.queries.status(job).generation) == (37, 2)


def test_a_cancelled_job_stays_cancelled(store):
    job = submit(store, 20)
    work_off(store, feed(store)[0])
    store.submissions.cancel(job)
    run_to_end(store)

    with pytest.raises(JobNotDone, match="cancelled"):
        reopen(store, job, 0, good=1)


def test_a_job_that_nobody_knows_is_told(store):
    with pytest.raises(UnknownJob):
        reopen(store, "absent", 0)


def test_a_repair_and_a_retry_go_on_from_one_another(store, job):
    reopen(store, job, 2, review=1)
    run_to_end(store)
    assert store.submissions.retry(job) == 2
    run_to_end(store)
    assert reopen(store, job, 3, generation=3, good=1) == 1
    run_to_end(store)

    status = store.queries.status(job)
    assert (status.done, status.failed, status.generation) == (40, 0, 4)
