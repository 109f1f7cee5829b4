"""Leases: the reply to each claim, and whether a lease is still valid."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.jobs import (
    TTL_S,
    close,
    done,
    failed,
    feed,
    grant,
    mark_all,
    run_to_end,
    submit,
)
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, RECOVERY
from shared.job.spec import Priority
from shared.job.ticket import Ticket
from shared.jobstore.values import Lease, MarkAnswer, RefusalReason, Refused


def claim(store, ticket, worker="w"):
    return store.leases.claim(ticket, worker, ttl_s=TTL_S)


def refusal(store, ticket, worker="w"):
    """Claim a ticket; return the reason why the claim was refused, or None if it was granted."""
    answer = claim(store, ticket, worker)
    return answer.reason if isinstance(answer, Refused) else None


@pytest.fixture
def job(store):
    return submit(store, 10)


@pytest.fixture
def one(store, job):
    """The job's only ticket."""
    [issued] = feed(store)
    return issued


def test_a_granted_claim_contains_everything_the_worker_needs(store, job, one):
    granted = claim(store, one.ticket, "worker-7")

    assert granted.lease.ticket == one.ticket
    assert granted.lease.owner.startswith("worker-7:")
    assert granted.spec == store.queries.spec(job)
    assert granted.sequence > 0
    assert (granted.generation, granted.ended, granted.attempts) == (1, frozenset(), {})
    assert granted.queue == BULK
    assert granted.manifest


def test_a_ticket_of_an_unknown_job_is_gone(store):
    assert refusal(store, Ticket("nosuch", "0-16", 1)) is RefusalReason.GONE


def test_a_ticket_that_was_never_issued_is_gone(store, job, one):
    assert refusal(store, Ticket(job, "0-9", 1)) is RefusalReason.GONE


def test_a_closed_ticket_is_gone_while_its_job_still_runs(store):
    submit(store, 20)
    one, _ = feed(store)
    granted = grant(store, one)
    mark_all(store, granted)
    close(store, granted.lease)

    assert refusal(store, one.ticket) is RefusalReason.GONE


def test_a_ticket_of_an_older_epoch_is_stale(store, one):
    [again] = store.leases.release(grant(store, one).lease)

    assert again.ticket.epoch == one.ticket.epoch + 1
    assert refusal(store, one.ticket) is RefusalReason.STALE
    assert refusal(store, again.ticket) is None


def test_an_older_epoch_is_stale_while_another_worker_holds_the_newer(store, one):
    """The order of the checks is job, ticket, epoch, owner."""
    [again] = store.leases.release(grant(store, one).lease)
    grant(store, again, "other")

    assert refusal(store, one.ticket) is RefusalReason.STALE


def test_a_ticket_held_by_another_worker_is_busy(store, one):
    grant(store, one, "a")

    assert refusal(store, one.ticket, "b") is RefusalReason.BUSY


def test_a_ticket_held_by_the_same_worker_is_a_duplicate(store, one):
    """After a connection reset the broker delivers a message again to the same process."""
    grant(store, one, "a")

    assert refusal(store, one.ticket, "a") is RefusalReason.DUP


def test_a_worker_id_that_is_a_prefix_of_another_is_a_different_worker(store, one):
    grant(store, one, "gpu:1")

    assert refusal(store, one.ticket, "gpu") is RefusalReason.BUSY


def test_an_epoch_above_the_stored_one_is_accepted(store, job, one):
    """Redis lost its latest writes after the message was sent."""
    granted = claim(store, Ticket(job, one.ticket.unit, 7))

    mark_all(store, granted)
    close(store, granted.lease)
    assert store.queries.accepted_shards(job) == [("0-10", 7)]


def test_the_epoch_after_an_accepted_higher_one_is_higher_still(store, job, one):
    """Otherwise two owners could write a shard with the same name."""
    granted = claim(store, Ticket(job, one.ticket.unit, 7))

    [again] = store.leases.release(granted.lease)

    assert again.ticket.epoch == 8


def test_an_epoch_close_to_the_maximum_is_stale(store, job, one):
    """Redis cannot have lost that many, and no worker would accept the next epoch."""
    for epoch in (2**30, 2**31 - 1):
        assert refusal(store, Ticket(job, one.ticket.unit, epoch)) is RefusalReason.STALE
    granted = claim(store, Ticket(job, one.ticket.unit, 2**30 - 1))
    [again] = store.leases.release(granted.lease)

    assert Ticket.from_args(*again.ticket.to_args()) == again.ticket
    assert refusal(store, again.ticket) is None


def test_a_held_ticket_is_busy_for_an_epoch_above_the_stored_one(store, job, one):
    grant(store, one, "a")

    assert refusal(store, Ticket(job, one.ticket.unit, 7), "b") is RefusalReason.BUSY


def test_an_expired_lease_is_not_granted_to_the_next_claim(store, one, redis_client):
    """Recovery must count the death first; otherwise a deadly range would never become suspect."""

    def ran_out():
        seconds, micros = redis_client.time()
        return redis_client.zcount("rmbg:leased", "-inf", seconds * 1000 + micros // 1000)

    grant(store, one, "a", ttl_s=0.001)
    until(ran_out)

    assert refusal(store, one.ticket, "b") is RefusalReason.BUSY


def test_one_of_twenty_concurrent_claims_is_granted(store, one):
    with ThreadPoolExecutor(20) as pool:
        refusals = list(pool.map(lambda n: refusal(store, one.ticket, f"w{n}"), range(20)))

    assert Counter(refusals) == {RefusalReason.BUSY: 19, None: 1}


def test_a_claim_can_be_repeated_after_its_reply_is_lost(store, one):
    """The client repeats a command when the connection breaks; the nonce identifies the claim."""
    args = Lease(one.ticket, "w:nonce").fence | {"worker": "w", "ttl_ms": 30_000, "features": ""}
    args |= {"rest_ms": 5000, "fresh_ms": 30_000}
    first, second = (store.connection.run("claim", **args) for _ in range(2))

    assert first[0] == second[0] == b"OK"


def test_a_claim_lists_the_ended_items(store, one):
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(0), failed(7), done(9)])
    [again] = store.leases.release(lease)

    assert grant(store, again).ended == {0, 7, 9}


def test_ended_items_are_right_for_ranges_that_do_not_start_at_a_byte(make_store):
    """Redis returns whole bytes of the bitmap; ranges start and stop within them."""
    store = make_store(ticket_items_unknown=5)
    submit(store, 23)
    ended = {}
    for one in feed(store):
        lease = grant(store, one).lease
        store.leases.mark(lease, [done(i) for i in one.ticket.span if i % 3 == 0])
        [again] = store.leases.release(lease)
        ended[one.ticket.unit] = grant(store, again).ended

    assert ended == {
        "0-5": {0, 3},
        "5-10": {6, 9},
        "10-15": {12},
        "15-20": {15, 18},
        "20-23": {21},
    }


def test_a_claim_contains_the_attempts_of_earlier_generations(store):
    """Only those that differ from the generation: item 2 was tried four times in total."""
    job = submit(store, 5)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(
        lease, [done(0), failed(1), failed(2, attempts=4), done(3), done(4, attempts=2)]
    )
    run_to_end(store, issued=close(store, lease))
    store.submissions.retry(job)

    [one] = feed(store)
    granted = grant(store, one)

    assert (granted.generation, granted.ended) == (2, frozenset())
    assert granted.lease.ticket.unit == "1-3"
    assert granted.attempts == {2: 4}
    assert [granted.attempts_before(index) for index in (1, 2)] == [1, 4]


def test_attempts_add_up_over_generations(store):
    job = submit(store, 2)
    for attempts in (4, 5, 6):
        [one] = feed(store)
        lease = grant(store, one).lease
        left = [failed(0, attempts=attempts)]
        store.leases.mark(lease, left if attempts > 4 else [*left, done(1)])
        run_to_end(store, issued=close(store, lease))
        store.submissions.retry(job)

    [one] = feed(store)
    granted = grant(store, one)

    assert (granted.generation, granted.attempts) == (4, {0: 6})


def test_attempts_of_a_done_item_are_known_after_it_is_reopened(store):
    """Its output was lost. It had been tried five times, its neighbour once."""
    job = submit(store, 2)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(0, attempts=5), done(1)])
    run_to_end(store, issued=close(store, lease))
    store.submissions.reopen(job, b"\xc0", generation=1, verdicts={"good": 2})

    [one] = feed(store)
    granted = grant(store, one)

    assert (granted.generation, granted.attempts) == (2, {0: 5})


def test_stored_attempts_are_dropped_once_they_equal_the_generation(store, redis_client):
    job = submit(store, 1)
    for attempts in (2, 2):
        [one] = feed(store)
        lease = grant(store, one).lease
        store.leases.mark(lease, [done(0, attempts=attempts)])
        run_to_end(store, issued=close(store, lease))
        generation = store.queries.status(job).generation
        noted = redis_client.hgetall(f"rmbg:job:{job}:attempts")
        assert noted == ({b"0": b"2"} if generation == 1 else {})
        store.submissions.reopen(job, b"\x80", generation=generation, verdicts={"good": 1})


# ---- beats


def test_a_beat_renews_held_leases_and_returns_lost_ones(store):
    submit(store, 40)
    first, second, third = feed(store)
    kept, released = grant(store, first).lease, grant(store, second).lease
    store.leases.release(released)
    never_ours = Lease(third.ticket, "w:nonce")

    assert store.leases.beat([released, kept, never_ours], ttl_s=TTL_S) == [
        released,
        never_ours,
    ]


def test_a_beat_without_leases_returns_nothing(store):
    assert store.leases.beat([], ttl_s=TTL_S) == []


def test_a_lease_lasts_as_long_as_it_is_renewed(store, one):
    lease = grant(store, one, ttl_s=0.001).lease
    assert store.leases.beat([lease], ttl_s=TTL_S) == []

    assert feed(store) == []
    assert refusal(store, one.ticket, "other") is RefusalReason.BUSY


def test_an_expired_lease_is_lost_once_recovery_has_processed_it(store, one):
    lease = grant(store, one, ttl_s=0.001).lease
    until(lambda: feed(store))

    assert store.leases.beat([lease], ttl_s=TTL_S) == [lease]


# ---- lost leases


@pytest.fixture(params=["taken over", "older epoch", "gone", "unknown job", "ended job"])
def lost_lease(store, request):
    """A lease that is lost, in every way there is."""
    submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one, "zombie").lease
    if request.param == "unknown job":
        return Lease(Ticket("nosuch", "0-10", 1), lease.owner)
    if request.param in ("gone", "ended job"):
        store.leases.mark(lease, [done(i) for i in range(10)])
        [merge] = close(store, lease)
        if request.param == "ended job":
            assert store.leases.merge_commit(grant(store, merge).lease)
        return lease
    [again] = store.leases.release(lease)
    if request.param == "older epoch":
        return lease
    claim(store, again.ticket, "successor")
    return Lease(again.ticket, lease.owner)


def test_a_lost_lease_marks_nothing(store, lost_lease):
    before = [(s.done, s.failed) for s in store.queries.jobs()]

    assert store.leases.mark(lost_lease, [done(3)]) is MarkAnswer.LOST
    assert [(s.done, s.failed) for s in store.queries.jobs()] == before


def test_a_lost_lease_cannot_be_renewed(store, lost_lease):
    assert store.leases.beat([lost_lease], ttl_s=TTL_S) == [lost_lease]


def test_a_lost_lease_announces_no_item(store, lost_lease):
    assert not store.leases.trying(lost_lease, 3, image_key="3.jpg")


def test_a_lost_lease_closes_nothing(store, lost_lease):
    assert store.leases.finish_begin(lost_lease) is None
    assert store.leases.finish_commit(lost_lease) == (False, [])


def test_a_lost_lease_ends_no_job(store, lost_lease):
    ticket = lost_lease.ticket

    assert not store.leases.merge_commit(
        Lease(Ticket(ticket.job_id, "merge", ticket.epoch), lost_lease.owner)
    )


def test_a_lost_lease_releases_nothing(store, lost_lease):
    assert store.leases.release(lost_lease, waiting_for="bucket: no") == []


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(("", "state", "done"), MarkAnswer.LOST, id="job has ended"),
        pytest.param((":ticket:0-10", "epoch", 8), MarkAnswer.LOST, id="epoch is older"),
        pytest.param((":ticket:0-10", "epoch", 6), MarkAnswer.OK, id="epoch is of the future"),
        pytest.param((":ticket:0-10", "owner", "w:x"), MarkAnswer.LOST, id="owner is another"),
    ],
)
def test_job_state_epoch_and_owner_must_all_match(store, one, redis_client, edit, expected):
    """A Redis that has lost writes can hold any combination. The lease has epoch 7."""
    part, field, value = edit
    lease = claim(store, Ticket(one.ticket.job_id, one.ticket.unit, 7)).lease
    redis_client.hset(f"rmbg:job:{one.ticket.job_id}{part}", field, value)

    assert store.leases.mark(lease, [done(0)]) is expected
    assert (store.leases.beat([lease], ttl_s=TTL_S) == []) is (expected is MarkAnswer.OK)


def test_a_ticket_left_over_from_an_ended_job_is_gone(store, one, redis_client):
    redis_client.hset(f"rmbg:job:{one.ticket.job_id}", "state", "done")

    assert refusal(store, one.ticket) is RefusalReason.GONE


def test_a_zombie_cannot_drop_the_ticket_of_its_successor(store, one):
    """It was stopped after its last mark and wakes up when another worker holds the full range."""
    zombie = grant(store, one, "zombie", ttl_s=0.001)
    mark_all(store, zombie)
    store.leases.finish_begin(zombie.lease)
    [again] = until(lambda: feed(store))
    successor = grant(store, again, "successor")

    assert store.leases.finish_commit(zombie.lease) == (False, [])
    assert len(successor.ended) == 10
    assert [issued.ticket.is_merge for issued in close(store, successor.lease)] == [True]


def test_an_older_claim_of_a_process_cannot_release_its_newer_lease(store, one):
    """The nonce tells them apart: the older thread still believes that it holds the range."""
    older = grant(store, one, "w").lease
    [again] = store.leases.release(older)
    newer = grant(store, again, "w").lease

    assert store.leases.release(Lease(newer.ticket, older.owner)) == []
    assert store.leases.beat([newer], ttl_s=TTL_S) == []


# ---- releases


def test_a_released_ticket_goes_to_recovery_and_keeps_its_records(store, one):
    lease = grant(store, one).lease
    store.leases.mark(lease, [done(0)])

    [again] = store.leases.release(lease)

    assert again.queue == RECOVERY
    granted = grant(store, again)
    assert granted.ended == {0}
    assert granted.queue == RECOVERY


def test_a_released_interactive_ticket_stays_interactive(store):
    submit(store, 10, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    [again] = store.leases.release(grant(store, one).lease)

    assert again.queue == INTERACTIVE


def test_a_release_does_not_count_as_a_death(store, one):
    """However often a ticket is released, it never becomes suspect."""
    for _ in range(5):
        [one] = store.leases.release(grant(store, one).lease)

    assert one.queue == RECOVERY


def test_a_release_can_delay_the_next_issue(store, one):
    lease = grant(store, one).lease

    assert store.leases.release(lease, delay_s=0.05) == []
    assert refusal(store, lease.ticket) is RefusalReason.STALE
    [again] = until(lambda: feed(store))
    assert again.queue == RECOVERY
    assert refusal(store, again.ticket) is None


def test_a_delayed_ticket_is_not_issued_early(store, one):
    store.leases.release(grant(store, one).lease, delay_s=60)

    assert feed(store, empty_queues=[BULK, RECOVERY]) == []
