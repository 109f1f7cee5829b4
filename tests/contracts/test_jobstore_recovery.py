"""Recovery: dead workers, lost tickets and deadly items."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.jobs import (
    close,
    done,
    feed,
    first_lease,
    grant,
    mark_all,
    run_to_end,
    submit,
    work_off,
)
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, QUEUES, RECOVERY, SUSPECT
from shared.job.record import ItemRecord
from shared.job.spec import JobState, Priority
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused

AT_ONCE_S = 0.001


def die(store, issued, *, marking=(), trying=None):
    """Claim a ticket, do a little, and die; return what recovery then issues."""
    claim = grant(store, issued, "doomed")
    if marking:
        store.mark(claim.lease, [done(i) for i in marking])
    if trying is not None:
        assert store.trying(claim.lease, trying, image_key=f"{trying}.jpg")
    assert store.beat([claim.lease], ttl_s=AT_ONCE_S) == []
    return until(lambda: feed(store))


# ---- dead workers


def test_a_live_workers_ticket_is_left_alone(store):
    submit(store, 10)
    first_lease(store)

    assert feed(store, empty_queues=QUEUES) == []


def test_a_dead_workers_ticket_goes_to_recovery_with_a_new_epoch(store):
    submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one)

    assert (again.ticket.unit, again.ticket.epoch, again.queue) == ("0-10", 2, RECOVERY)


def test_a_dead_workers_interactive_ticket_stays_interactive(store):
    submit(store, 10, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    assert [again.queue for again in die(store, one)] == [INTERACTIVE]


def test_what_a_worker_marked_before_it_died_is_not_done_again(store):
    """It dies after marking some, and before finishing."""
    job = submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one, marking=range(4))
    claim = grant(store, again)
    mark_all(store, claim)
    closing = store.finish_begin(claim.lease)

    assert claim.ended == set(range(4))
    assert len(closing.records) == 10
    assert store.status(job).done == 10


def test_a_full_range_whose_worker_died_goes_straight_to_its_shard(store):
    """It dies after its last mark; there is nothing left that could be to blame."""
    job = submit(store, 10)
    [one] = feed(store)
    for _ in range(4):
        [one] = die(store, one, marking=range(10))
        assert one.queue == RECOVERY

    claim = grant(store, one)

    assert claim.ended == frozenset(range(10))
    close(store, claim.lease)
    assert store.accepted_shards(job) == [("0-10", 5)]


def test_a_worker_that_dies_between_shard_and_commit_leaves_an_unread_shard(store):
    """Only accepted shards are merged."""
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim)
    store.finish_begin(claim.lease)
    store.beat([claim.lease], ttl_s=AT_ONCE_S)
    [again] = until(lambda: feed(store))

    run_to_end(store, issued=[again])

    assert store.accepted_shards(job) == [("0-10", 2)]
    assert store.status(job).state is JobState.DONE


def test_many_that_recover_at_once_issue_a_ticket_once(store, redis_client):
    submit(store, 10)
    [one] = feed(store)
    grant(store, one, ttl_s=AT_ONCE_S)
    until(lambda: lease_ran_out(redis_client))

    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(lambda _: feed(store), range(8)))

    assert [again.ticket.epoch for each in rounds for again in each] == [2]


def lease_ran_out(client):
    seconds, micros = client.time()
    return client.zcount("rmbg:leased", "-inf", seconds * 1000 + micros // 1000)


def test_one_of_many_gets_the_turn_and_the_next_one_when_its_time_is_over(store):
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: store.take_turn(30), range(8)))

    assert sum(got) == 1
    assert not store.take_turn(30)
    until(lambda: store.take_turn(0.05))


def test_after_the_clock_was_set_back_somebody_gets_a_turn(store, redis_client):
    assert store.take_turn(30)
    seconds, _ = redis_client.time()
    redis_client.set("rmbg:turn", (seconds + 3600) * 1000)

    assert store.take_turn(30)


def test_a_late_beat_saves_a_lease_that_nobody_has_missed_yet(store):
    submit(store, 10)
    lease = first_lease(store, ttl_s=AT_ONCE_S)

    assert store.beat([lease], ttl_s=30) == []
    assert store.mark(lease, [done(0)]) is MarkAnswer.OK


# ---- lost tickets


def test_a_ticket_that_waits_its_turn_is_not_lost(make_store):
    """A long queue is slow, not lossy: only an empty one, or overtaking, tells."""
    store = make_store(lost_after_s=0.0)
    submit(store, 100)
    feed(store)

    assert feed(store, empty_queues=[RECOVERY, INTERACTIVE, SUSPECT]) == []


def test_a_ticket_is_lost_if_it_is_old_and_its_queue_is_empty(make_store):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    feed(store)

    [again] = until(lambda: feed(store, empty_queues=[BULK]))

    assert (again.ticket.unit, again.ticket.epoch, again.queue) == ("0-10", 2, RECOVERY)


def test_a_fresh_ticket_is_not_lost_though_its_queue_is_empty(store):
    """It may just be on its way, or in a worker's hands."""
    submit(store, 10)
    feed(store)

    assert feed(store, empty_queues=QUEUES) == []


def test_a_ticket_is_lost_if_a_much_younger_one_was_claimed_from_its_queue(
    make_store, redis_client
):
    small = make_store(lost_after_s=0.05, high_water_least=1)
    large = make_store(lost_after_s=0.05, high_water_least=2)
    old, young = submit(small, 10, keys="old"), submit(small, 10, keys="young")
    [lost] = feed(small)
    until(lambda: age_ms(redis_client, lost) > 60)
    [overtakes] = feed(large)
    assert (lost.ticket.job_id, overtakes.ticket.job_id) == (old, young)
    assert feed(large) == []
    grant(large, overtakes)

    [again] = feed(large)

    assert (again.ticket.job_id, again.ticket.epoch, again.queue) == (old, 2, RECOVERY)
    assert large.claim(lost.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)


def age_ms(client, issued):
    """How long ago a queued ticket was issued, by the server's clock."""
    seconds, micros = client.time()
    member = f"{issued.ticket.job_id}|{issued.ticket.unit}"
    return seconds * 1000 + micros / 1000 - client.zscore(f"rmbg:queued:{issued.queue}", member)


def test_a_younger_ticket_of_another_queue_proves_nothing(make_store):
    """A recovery ticket that is claimed early must not declare the waiting bulk lost."""
    store = make_store(lost_after_s=0.05)
    submit(store, 40)
    first, *_ = feed(store)
    lease = grant(store, first).lease
    store.release(lease, delay_s=0.1)
    [recovered] = until(lambda: feed(store))
    assert recovered.queue == RECOVERY
    grant(store, recovered)

    assert feed(store) == []


def test_a_lost_ticket_is_issued_once_and_may_get_lost_again(make_store):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    feed(store)

    epochs = [until(lambda: feed(store, empty_queues=QUEUES))[0].ticket.epoch for _ in range(3)]

    assert epochs == [2, 3, 4]


@pytest.mark.parametrize("lane", [INTERACTIVE, SUSPECT])
def test_a_lost_interactive_or_suspect_ticket_stays_in_its_lane(make_store, lane):
    store = make_store(lost_after_s=0.05, suspect_deaths=1)
    priority = Priority.INTERACTIVE if lane == INTERACTIVE else Priority.BULK
    submit(store, 10, priority=priority)
    [one] = feed(store)
    if lane == SUSPECT:
        [one] = die(store, one)
    assert one.queue == lane

    [again] = until(lambda: feed(store, empty_queues=[lane]))

    assert again.queue == lane


def test_a_lost_merge_ticket_is_issued_again(make_store):
    store = make_store(lost_after_s=0.05)
    job = submit(store, 10)
    [one] = feed(store)
    [lost] = work_off(store, one)

    [again] = until(lambda: feed(store, empty_queues=QUEUES))

    assert again.ticket.is_merge
    assert store.claim(lost.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)
    work_off(store, again)
    assert store.status(job).state is JobState.DONE


def test_a_servers_clock_that_was_set_back_declares_nothing_lost(store, redis_client):
    """A failover to a server that is behind: the newest claimed ticket lies in its future."""
    submit(store, 100)
    first, *_ = feed(store)
    grant(store, first)
    redis_client.hincrby("rmbg:claimed", BULK, 300_000)

    assert feed(store) == []


def test_after_the_clock_was_set_back_what_waits_is_not_issued_again(make_store, redis_client):
    """A time of before, taken for now, would make lost what waits its turn; again and again."""
    store = make_store(lost_after_s=0.05)
    submit(store, 100)
    first, *waiting = feed(store)
    grant(store, first)
    redis_client.hincrby("rmbg:claimed", BULK, 300_000)
    until(lambda: min(age_ms(redis_client, one) for one in waiting) > 60)

    assert feed(store) == []

    grant(store, waiting[0])
    assert feed(store) == []


def set_forward(client, place, member):
    """Let a ticket have been put in its place by a clock that was an hour ahead."""
    client.zincrby(place, 3_600_000, member)


def test_after_the_clock_was_set_back_a_dead_workers_lease_lasts_no_longer_than_a_lease(
    store, redis_client
):
    submit(store, 10)
    [one] = feed(store)
    grant(store, one, "dead", ttl_s=0.05)
    set_forward(redis_client, "rmbg:leased", f"{one.ticket.job_id}|0-10")

    [again] = until(lambda: feed(store))

    assert (again.ticket.epoch, again.queue) == (2, RECOVERY)


def test_a_long_lease_stands_beside_short_ones(store, redis_client):
    submit(store, 40)
    short, long, _ = feed(store)
    long = grant(store, long, ttl_s=60).lease
    grant(store, short, ttl_s=AT_ONCE_S)
    before = redis_client.zscore("rmbg:leased", f"{long.ticket.job_id}|{long.ticket.unit}")

    until(lambda: feed(store))

    member = f"{long.ticket.job_id}|{long.ticket.unit}"
    assert redis_client.zscore("rmbg:leased", member) == before


def test_after_the_clock_was_set_back_a_ticket_rests_no_longer_than_it_should(store, redis_client):
    submit(store, 10)
    [one] = feed(store)
    store.release(grant(store, one).lease, delay_s=0.05)
    set_forward(redis_client, "rmbg:parked", f"{one.ticket.job_id}|0-10")

    assert until(lambda: feed(store))


def test_after_the_clock_was_set_back_a_lost_ticket_is_found_as_soon_as_ever(
    make_store, redis_client
):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    [one] = feed(store)
    set_forward(redis_client, f"rmbg:queued:{BULK}", f"{one.ticket.job_id}|0-10")

    [again] = until(lambda: feed(store, empty_queues=QUEUES))

    assert again.ticket.epoch == 2


def test_nobody_trips_over_tickets_of_a_job_that_was_deleted_by_hand(make_store, redis_client):
    store = make_store(lost_after_s=0.0)
    job = submit(store, 40)
    first, second, _ = feed(store)
    grant(store, first, ttl_s=AT_ONCE_S)
    store.release(grant(store, second).lease, delay_s=AT_ONCE_S)
    redis_client.delete(*redis_client.keys(f"rmbg:job:{job}*"))

    def nothing_left():
        assert feed(store, empty_queues=QUEUES) == []
        return not redis_client.exists(
            "rmbg:leased", "rmbg:parked", *(f"rmbg:queued:{queue}" for queue in QUEUES)
        )

    until(nothing_left)


# ---- blame


def test_a_range_whose_worker_died_twice_is_suspect(store):
    submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one)
    assert again.queue == RECOVERY
    [again] = die(store, again)
    assert again.queue == SUSPECT
    [again] = store.release(grant(store, again).lease)
    assert again.queue == SUSPECT


@pytest.fixture
def suspect(store):
    """A ticket of ten items whose worker died twice."""
    submit(store, 10)
    [one] = feed(store)
    for _ in range(2):
        [one] = die(store, one)
    return one


def test_a_deadly_item_is_named_within_five_deaths_and_its_neighbours_go_on(store, suspect):
    [job] = store.jobs()
    for death in range(1, 4):
        assert store.status(job.job_id).failed == 0
        [suspect] = die(store, suspect, trying=6, marking=range(6) if death == 1 else ())

    claim = grant(store, suspect)
    assert claim.ended == set(range(7))
    mark_all(store, claim)
    run_to_end(store, issued=close(store, claim.lease))

    status = store.status(job.job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 9, 1)
    assert status.error_classes == {"WorkerCrash": 1}
    assert list(store.failed_indexes(job.job_id)) == [6]


def test_a_deadly_items_record_says_what_happened(store, suspect):
    for _ in range(3):
        [suspect] = die(store, suspect, trying=6)
    closing = store.finish_begin(grant(store, suspect).lease)

    [record] = [ItemRecord.from_json(text) for text in closing.records]
    assert (record.index, record.image_key, record.state) == (6, "6.jpg", "failed")
    assert record.error == {
        "class": "WorkerCrash",
        "reason": "3 workers died on this item alone",
    }
    assert record.attempts == 3
    assert set(json.loads(closing.records[0])) == set(json.loads(done(0).to_json()))


def test_a_deadly_items_attempts_go_on_in_the_next_generation(store, suspect):
    [job] = store.jobs()
    for _ in range(3):
        [suspect] = die(store, suspect, trying=6)
    run_to_end(store, issued=[suspect])
    store.retry(job.job_id)
    [one] = feed(store)
    claim = grant(store, one)
    assert claim.attempts == {6: 3}
    store.beat([claim.lease], ttl_s=AT_ONCE_S)
    [one] = until(lambda: feed(store))
    for _ in range(4):
        [one] = die(store, one, trying=6)

    [record] = map(ItemRecord.from_json, store.open_records(job.job_id))
    assert record.attempts == 6


def test_two_deadly_items_in_one_range_are_both_named(store, suspect):
    [job] = store.jobs()
    for index in (2, 7):
        for _ in range(3):
            [suspect] = die(store, suspect, trying=index)

    assert list(store.failed_indexes(job.job_id)) == [2, 7]


def test_deaths_on_different_items_blame_none_of_them(store, suspect):
    """A machine that loses power takes whatever it had in hand with it."""
    [job] = store.jobs()
    for index in (1, 2, 3, 1, 2, 3):
        [suspect] = die(store, suspect, trying=index)

    assert list(store.failed_indexes(job.job_id)) == []


def test_an_item_that_had_ended_is_not_blamed(store, suspect):
    """The worker died after it had marked the item that it tried last."""
    [job] = store.jobs()
    [suspect] = die(store, suspect, marking=[4], trying=4)
    for _ in range(3):
        [suspect] = die(store, suspect, trying=4)

    assert store.status(job.job_id).failed == 0


def test_a_death_before_the_first_try_blames_nobody(store, suspect):
    """What the last owner tried is forgotten when the ticket changes hands."""
    [job] = store.jobs()
    for _ in range(2):
        [suspect] = die(store, suspect, trying=6)
    for _ in range(3):
        [suspect] = die(store, suspect)

    assert store.status(job.job_id).failed == 0


def test_giving_back_a_suspect_blames_nobody(store, suspect):
    [job] = store.jobs()
    for _ in range(5):
        lease = grant(store, suspect).lease
        assert store.trying(lease, 6, image_key="6.jpg")
        [suspect] = store.release(lease)
        assert suspect.queue == SUSPECT

    assert store.status(job.job_id).failed == 0


def test_a_suspect_range_that_is_full_is_suspected_no_more(store, suspect):
    [again] = die(store, suspect, marking=range(10))

    assert again.queue == RECOVERY
