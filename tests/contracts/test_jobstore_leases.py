"""Leases: every answer to a claim, and whose word counts afterwards."""

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
from shared.jobstore.connection import fence
from shared.jobstore.values import Lease, MarkAnswer, RefusalReason, Refused


def claim(store, ticket, worker="w"):
    return store.claim(ticket, worker, ttl_s=TTL_S)


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


def test_a_granted_claim_tells_all_that_the_work_needs(store, job, one):
    granted = claim(store, one.ticket, "worker-7")

    assert granted.lease.ticket == one.ticket
    assert granted.lease.owner.startswith("worker-7:")
    assert granted.spec == store.spec(job)
    assert granted.sequence > 0
    assert (granted.generation, granted.ended, granted.attempts) == (1, frozenset(), {})
    assert granted.queue == BULK
    assert granted.manifest


def test_a_ticket_of_no_known_job_is_gone(store):
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
    [again] = store.release(grant(store, one).lease)

    assert again.ticket.epoch == one.ticket.epoch + 1
    assert refusal(store, one.ticket) is RefusalReason.STALE
    assert refusal(store, again.ticket) is None


def test_an_older_epoch_is_stale_even_while_another_holds_the_newer(store, one):
    """The order of the tests: job, ticket, epoch, owner."""
    [again] = store.release(grant(store, one).lease)
    grant(store, again, "other")

    assert refusal(store, one.ticket) is RefusalReason.STALE


def test_a_ticket_that_another_worker_holds_is_busy(store, one):
    grant(store, one, "a")

    assert refusal(store, one.ticket, "b") is RefusalReason.BUSY


def test_a_ticket_that_this_worker_holds_is_a_double(store, one):
    """A reset connection makes the broker deliver a message again to the same process."""
    grant(store, one, "a")

    assert refusal(store, one.ticket, "a") is RefusalReason.DUP


def test_a_worker_whose_name_begins_like_anothers_is_not_taken_for_it(store, one):
    grant(store, one, "gpu:1")

    assert refusal(store, one.ticket, "gpu") is RefusalReason.BUSY


def test_an_epoch_above_the_stores_counts_as_equal(store, job, one):
    """Redis went back in time: the message was sent in a future that it has forgotten."""
    granted = claim(store, Ticket(job, one.ticket.unit, 7))

    mark_all(store, granted)
    close(store, granted.lease)
    assert store.accepted_shards(job) == [("0-10", 7)]


def test_after_a_higher_epoch_the_next_one_is_higher_still(store, job, one):
    """Otherwise two owners could write a shard of one name."""
    granted = claim(store, Ticket(job, one.ticket.unit, 7))

    [again] = store.release(granted.lease)

    assert again.ticket.epoch == 8


def test_an_epoch_that_leaves_no_room_for_the_next_is_not_believed(store, job, one):
    """Redis cannot have forgotten so many; a ticket after it could not be read by anybody."""
    for epoch in (2**30, 2**31 - 1):
        assert refusal(store, Ticket(job, one.ticket.unit, epoch)) is RefusalReason.STALE
    granted = claim(store, Ticket(job, one.ticket.unit, 2**30 - 1))
    [again] = store.release(granted.lease)

    assert Ticket.from_args(*again.ticket.to_args()) == again.ticket
    assert refusal(store, again.ticket) is None


def test_an_epoch_above_the_stores_is_still_busy_while_held(store, job, one):
    grant(store, one, "a")

    assert refusal(store, Ticket(job, one.ticket.unit, 7), "b") is RefusalReason.BUSY


def test_a_lease_that_has_run_out_is_not_given_to_the_next_comer(store, one, redis_client):
    """Recovery must count the death first, or a deadly range would go round for ever."""

    def ran_out():
        seconds, micros = redis_client.time()
        return redis_client.zcount("rmbg:leased", "-inf", seconds * 1000 + micros // 1000)

    grant(store, one, "a", ttl_s=0.001)
    until(ran_out)

    assert refusal(store, one.ticket, "b") is RefusalReason.BUSY


def test_of_twenty_claims_at_once_one_is_granted(store, one):
    with ThreadPoolExecutor(20) as pool:
        refusals = list(pool.map(lambda n: refusal(store, one.ticket, f"w{n}"), range(20)))

    assert Counter(refusals) == {RefusalReason.BUSY: 19, None: 1}


def test_a_claim_whose_answer_was_lost_may_be_sent_again(store, one):
    """The client repeats a command when the connection breaks; the nonce makes it the same one."""
    args = fence(Lease(one.ticket, "w:nonce")) | {"worker": "w", "ttl_ms": 30_000}
    first, second = (store._run("claim", **args) for _ in range(2))

    assert first[0] == second[0] == b"OK"


def test_a_claim_shows_which_items_have_ended(store, one):
    lease = grant(store, one).lease
    store.mark(lease, [done(0), failed(7), done(9)])
    [again] = store.release(lease)

    assert grant(store, again).ended == {0, 7, 9}


def test_ended_items_are_told_for_ranges_anywhere_in_a_byte(make_store):
    """The bitmap is answered in whole bytes; ranges begin and stop within them."""
    store = make_store(ticket_items_unknown=5)
    submit(store, 23)
    ended = {}
    for one in feed(store):
        lease = grant(store, one).lease
        store.mark(lease, [done(i) for i in one.ticket.span if i % 3 == 0])
        [again] = store.release(lease)
        ended[one.ticket.unit] = grant(store, again).ended

    assert ended == {
        "0-5": {0, 3},
        "5-10": {6, 9},
        "10-15": {12},
        "15-20": {15, 18},
        "20-23": {21},
    }


def test_a_claim_shows_the_attempts_of_earlier_generations(store):
    """Only those that the generation does not tell: item 2 was tried four times in all."""
    job = submit(store, 5)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(0), failed(1), failed(2, attempts=4), done(3), done(4, attempts=2)])
    run_to_end(store, issued=close(store, lease))
    store.retry(job)

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
        store.mark(lease, left if attempts > 4 else [*left, done(1)])
        run_to_end(store, issued=close(store, lease))
        store.retry(job)

    [one] = feed(store)
    granted = grant(store, one)

    assert (granted.generation, granted.attempts) == (4, {0: 6})


def test_attempts_of_a_done_item_are_known_when_it_is_opened_again(store):
    """Its picture got lost. It was tried five times, and its neighbour once."""
    job = submit(store, 2)
    [one] = feed(store)
    lease = grant(store, one).lease
    store.mark(lease, [done(0, attempts=5), done(1)])
    run_to_end(store, issued=close(store, lease))
    store.reopen(job, b"\xc0", generation=1, verdicts={"good": 2})

    [one] = feed(store)
    granted = grant(store, one)

    assert (granted.generation, granted.attempts) == (2, {0: 5})


def test_what_was_known_of_attempts_is_dropped_once_the_generation_tells(store, redis_client):
    job = submit(store, 1)
    for attempts in (2, 2):
        [one] = feed(store)
        lease = grant(store, one).lease
        store.mark(lease, [done(0, attempts=attempts)])
        run_to_end(store, issued=close(store, lease))
        generation = store.status(job).generation
        noted = redis_client.hgetall(f"rmbg:job:{job}:attempts")
        assert noted == ({b"0": b"2"} if generation == 1 else {})
        store.reopen(job, b"\x80", generation=generation, verdicts={"good": 1})


# ---- beats


def test_a_beat_renews_what_is_held_and_names_what_is_lost(store):
    submit(store, 40)
    first, second, third = feed(store)
    kept, given_back = grant(store, first).lease, grant(store, second).lease
    store.release(given_back)
    never_ours = Lease(third.ticket, "w:nonce")

    assert store.beat([given_back, kept, never_ours], ttl_s=TTL_S) == [given_back, never_ours]


def test_a_beat_for_nothing_asks_nothing(store):
    assert store.beat([], ttl_s=TTL_S) == []


def test_a_lease_lasts_as_long_as_it_is_renewed(store, one):
    lease = grant(store, one, ttl_s=0.001).lease
    assert store.beat([lease], ttl_s=TTL_S) == []

    assert feed(store) == []
    assert refusal(store, one.ticket, "other") is RefusalReason.BUSY


def test_a_lease_that_was_not_renewed_is_lost_once_recovery_has_seen_it(store, one):
    lease = grant(store, one, ttl_s=0.001).lease
    until(lambda: feed(store))

    assert store.beat([lease], ttl_s=TTL_S) == [lease]


# ---- whose word counts


@pytest.fixture(params=["taken over", "older epoch", "gone", "unknown job", "ended job"])
def dead_lease(store, request):
    """A lease that does not stand any more, in each of the ways there are."""
    submit(store, 10)
    [one] = feed(store)
    lease = grant(store, one, "zombie").lease
    if request.param == "unknown job":
        return Lease(Ticket("nosuch", "0-10", 1), lease.owner)
    if request.param in ("gone", "ended job"):
        store.mark(lease, [done(i) for i in range(10)])
        [merge] = close(store, lease)
        if request.param == "ended job":
            assert store.merge_commit(grant(store, merge).lease)
        return lease
    [again] = store.release(lease)
    if request.param == "older epoch":
        return lease
    claim(store, again.ticket, "successor")
    return Lease(again.ticket, lease.owner)


def test_a_dead_lease_marks_nothing(store, dead_lease):
    before = [(s.done, s.failed) for s in store.jobs()]

    assert store.mark(dead_lease, [done(3)]) is MarkAnswer.LOST
    assert [(s.done, s.failed) for s in store.jobs()] == before


def test_a_dead_lease_is_not_beaten_for(store, dead_lease):
    assert store.beat([dead_lease], ttl_s=TTL_S) == [dead_lease]


def test_a_dead_lease_tries_nothing(store, dead_lease):
    assert not store.trying(dead_lease, 3, image_key="3.jpg")


def test_a_dead_lease_closes_nothing(store, dead_lease):
    assert store.finish_begin(dead_lease) is None
    assert store.finish_commit(dead_lease) == (False, [])


def test_a_dead_lease_ends_no_job(store, dead_lease):
    ticket = dead_lease.ticket

    assert not store.merge_commit(
        Lease(Ticket(ticket.job_id, "merge", ticket.epoch), dead_lease.owner)
    )


def test_a_dead_lease_releases_nothing(store, dead_lease):
    assert store.release(dead_lease, waiting_for="bucket: no") == []


@pytest.mark.parametrize(
    ("edit", "answered"),
    [
        pytest.param(("", "state", "done"), MarkAnswer.LOST, id="job has ended"),
        pytest.param((":ticket:0-10", "epoch", 8), MarkAnswer.LOST, id="epoch is older"),
        pytest.param((":ticket:0-10", "epoch", 6), MarkAnswer.OK, id="epoch is of the future"),
        pytest.param((":ticket:0-10", "owner", "w:x"), MarkAnswer.LOST, id="owner is another"),
    ],
)
def test_job_epoch_and_owner_each_have_a_say(store, one, redis_client, edit, answered):
    """Whatever a Redis that went back in time may hold. The lease is of epoch 7."""
    part, field, value = edit
    lease = claim(store, Ticket(one.ticket.job_id, one.ticket.unit, 7)).lease
    redis_client.hset(f"rmbg:job:{one.ticket.job_id}{part}", field, value)

    assert store.mark(lease, [done(0)]) is answered
    assert (store.beat([lease], ttl_s=TTL_S) == []) is (answered is MarkAnswer.OK)


def test_a_ticket_that_is_left_of_an_ended_job_is_gone(store, one, redis_client):
    redis_client.hset(f"rmbg:job:{one.ticket.job_id}", "state", "done")

    assert refusal(store, one.ticket) is RefusalReason.GONE


def test_a_zombie_cannot_drop_its_successors_ticket(store, one):
    """It was stopped after its last mark, and wakes up when another holds the full range."""
    zombie = grant(store, one, "zombie", ttl_s=0.001)
    mark_all(store, zombie)
    store.finish_begin(zombie.lease)
    [again] = until(lambda: feed(store))
    successor = grant(store, again, "successor")

    assert store.finish_commit(zombie.lease) == (False, [])
    assert len(successor.ended) == 10
    assert [issued.ticket.is_merge for issued in close(store, successor.lease)] == [True]


def test_one_process_cannot_release_its_newer_lease_by_its_older_claim(store, one):
    """Hence the nonce: its older thread still believes in a lease of the same range."""
    older = grant(store, one, "w").lease
    [again] = store.release(older)
    newer = grant(store, again, "w").lease

    assert store.release(Lease(newer.ticket, older.owner)) == []
    assert store.beat([newer], ttl_s=TTL_S) == []


# ---- giving back


def test_a_released_ticket_goes_to_recovery_and_keeps_what_is_recorded(store, one):
    lease = grant(store, one).lease
    store.mark(lease, [done(0)])

    [again] = store.release(lease)

    assert again.queue == RECOVERY
    granted = grant(store, again)
    assert granted.ended == {0}
    assert granted.queue == RECOVERY


def test_a_released_interactive_ticket_stays_interactive(store):
    submit(store, 10, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    [again] = store.release(grant(store, one).lease)

    assert again.queue == INTERACTIVE


def test_a_release_is_no_death(store, one):
    """However often a ticket is given back, it is never suspected."""
    for _ in range(5):
        [one] = store.release(grant(store, one).lease)

    assert one.queue == RECOVERY


def test_a_released_ticket_may_rest_before_it_is_issued_again(store, one):
    lease = grant(store, one).lease

    assert store.release(lease, delay_s=0.05) == []
    assert refusal(store, lease.ticket) is RefusalReason.STALE
    [again] = until(lambda: feed(store))
    assert again.queue == RECOVERY
    assert refusal(store, again.ticket) is None


def test_a_resting_ticket_is_not_issued_early(store, one):
    store.release(grant(store, one).lease, delay_s=60)

    assert feed(store, empty_queues=[BULK, RECOVERY]) == []
