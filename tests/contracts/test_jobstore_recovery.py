"""Recovery of tickets after dead workers, lost messages and deadly items."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.jobs import (
    close,
    done,
    failed_indexes,
    feed,
    first_lease,
    grant,
    mark_all,
    process,
    run_to_end,
    submit,
)
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, QUEUES, RECOVERY, SUSPECT
from shared.job.record import ItemRecord
from shared.job.spec import JobState, Priority
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused

AT_ONCE_S = 0.001


def die(store, issued, *, marking=(), trying=None):
    """Claim a ticket, mark items, and die; return what recovery then issues."""
    claim = grant(store, issued, "doomed")
    if marking:
        store.leases.mark(claim.lease, [done(i) for i in marking])
    if trying is not None:
        assert store.leases.trying(claim.lease, trying, image_key=f"{trying}.jpg")
    assert store.leases.beat([claim.lease], ttl_s=AT_ONCE_S) == []
    return until(lambda: feed(store))


# ---- dead workers


def test_the_ticket_of_a_live_worker_does_not_change(store):
    submit(store, 10)
    first_lease(store)

    assert feed(store, empty_queues=QUEUES) == []


def test_the_ticket_of_a_dead_worker_goes_to_recovery_with_a_new_epoch(store):
    submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one)

    assert (again.ticket.unit, again.ticket.epoch, again.queue) == ("0-10", 2, RECOVERY)


def test_the_interactive_ticket_of_a_dead_worker_stays_interactive(store):
    submit(store, 10, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    assert [again.queue for again in die(store, one)] == [INTERACTIVE]


def test_items_marked_before_a_death_are_not_processed_again(store):
    """The worker dies after marking some items, before finishing."""
    job = submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one, marking=range(4))
    claim = grant(store, again)
    mark_all(store, claim)
    closing = store.leases.finish_begin(claim.lease)

    assert claim.ended == set(range(4))
    assert len(closing.records) == 10
    assert store.queries.status(job).done == 10


def test_a_complete_range_of_a_dead_worker_only_needs_its_shard(store):
    """The worker dies after its last mark; no item can be the cause."""
    job = submit(store, 10)
    [one] = feed(store)
    for _ in range(4):
        [one] = die(store, one, marking=range(10))
        assert one.queue == RECOVERY

    claim = grant(store, one)

    assert claim.ended == frozenset(range(10))
    close(store, claim.lease)
    assert store.queries.accepted_shards(job) == [("0-10", 5)]


def test_the_shard_of_a_worker_that_died_before_the_commit_is_ignored(store):
    """Only accepted shards are merged."""
    job = submit(store, 10)
    [one] = feed(store)
    claim = grant(store, one)
    mark_all(store, claim)
    store.leases.finish_begin(claim.lease)
    store.leases.beat([claim.lease], ttl_s=AT_ONCE_S)
    [again] = until(lambda: feed(store))

    run_to_end(store, issued=[again])

    assert store.queries.accepted_shards(job) == [("0-10", 2)]
    assert store.queries.status(job).state is JobState.DONE


def test_concurrent_recoveries_issue_a_ticket_once(store, redis_client):
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


def test_one_of_many_workers_gets_the_turn_until_its_time_is_over(store):
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: store.fleet.take_turn(30), range(8)))

    assert sum(got) == 1
    assert not store.fleet.take_turn(30)
    until(lambda: store.fleet.take_turn(0.05))


def test_a_worker_gets_the_turn_after_the_clock_was_set_back(store, redis_client):
    assert store.fleet.take_turn(30)
    seconds, _ = redis_client.time()
    redis_client.set("rmbg:turn", (seconds + 3600) * 1000)

    assert store.fleet.take_turn(30)


def test_a_late_beat_saves_an_expired_lease_before_recovery_sees_it(store):
    submit(store, 10)
    lease = first_lease(store, ttl_s=AT_ONCE_S)

    assert store.leases.beat([lease], ttl_s=30) == []
    assert store.leases.mark(lease, [done(0)]) is MarkAnswer.OK


# ---- lost tickets


def test_a_ticket_waiting_in_a_long_queue_is_not_lost(make_store):
    """A long queue is slow, not lossy; an empty queue or a claimed younger ticket shows a loss."""
    store = make_store(lost_after_s=0.0)
    submit(store, 100)
    feed(store)

    assert feed(store, empty_queues=[RECOVERY, INTERACTIVE, SUSPECT]) == []


def test_an_old_ticket_of_an_empty_queue_is_lost(make_store):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    feed(store)

    [again] = until(lambda: feed(store, empty_queues=[BULK]))

    assert (again.ticket.unit, again.ticket.epoch, again.queue) == ("0-10", 2, RECOVERY)


def test_a_fresh_ticket_of_an_empty_queue_is_not_lost(store):
    """Its message may be on its way or have just reached a worker."""
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
    assert large.leases.claim(lost.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)


def age_ms(client, issued):
    """Return the age of a queued ticket by the server's clock."""
    seconds, micros = client.time()
    member = f"{issued.ticket.job_id}|{issued.ticket.unit}"
    return seconds * 1000 + micros / 1000 - client.zscore(f"rmbg:queued:{issued.queue}", member)


def test_a_younger_ticket_of_another_queue_does_not_make_a_ticket_lost(make_store):
    """A recovery ticket that is claimed early must not declare waiting bulk tickets lost."""
    store = make_store(lost_after_s=0.05)
    submit(store, 40)
    first, *_ = feed(store)
    lease = grant(store, first).lease
    store.leases.release(lease, delay_s=0.1)
    [recovered] = until(lambda: feed(store))
    assert recovered.queue == RECOVERY
    grant(store, recovered)

    assert feed(store) == []


def test_a_lost_ticket_is_issued_once_per_loss(make_store):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    feed(store)

    epochs = [until(lambda: feed(store, empty_queues=QUEUES))[0].ticket.epoch for _ in range(3)]

    assert epochs == [2, 3, 4]


@pytest.mark.parametrize("queue", [INTERACTIVE, SUSPECT])
def test_a_lost_interactive_or_suspect_ticket_stays_in_its_queue(make_store, queue):
    store = make_store(lost_after_s=0.05, suspect_deaths=1)
    priority = Priority.INTERACTIVE if queue == INTERACTIVE else Priority.BULK
    submit(store, 10, priority=priority)
    [one] = feed(store)
    if queue == SUSPECT:
        [one] = die(store, one)
    assert one.queue == queue

    [again] = until(lambda: feed(store, empty_queues=[queue]))

    assert again.queue == queue


def test_a_lost_merge_ticket_is_issued_again(make_store):
    store = make_store(lost_after_s=0.05)
    job = submit(store, 10)
    [one] = feed(store)
    [lost] = process(store, one)

    [again] = until(lambda: feed(store, empty_queues=QUEUES))

    assert again.ticket.is_merge
    assert store.leases.claim(lost.ticket, "w", ttl_s=30) == Refused(RefusalReason.STALE)
    process(store, again)
    assert store.queries.status(job).state is JobState.DONE


def test_a_server_clock_that_was_set_back_makes_no_ticket_lost(store, redis_client):
    """After a failover to a server that is behind, the newest claimed ticket is in its future."""
    submit(store, 100)
    first, *_ = feed(store)
    grant(store, first)
    redis_client.hincrby("rmbg:claimed", BULK, 300_000)

    assert feed(store) == []


def test_waiting_tickets_are_not_issued_again_after_the_clock_was_set_back(
    make_store, redis_client
):
    """If the old time were compared with the new clock, waiting tickets would count as lost."""
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
    """Move a ticket's time to that of a clock one hour ahead."""
    client.zincrby(place, 3_600_000, member)


def test_a_lease_expires_in_time_after_the_clock_was_set_back(store, redis_client):
    submit(store, 10)
    [one] = feed(store)
    grant(store, one, "dead", ttl_s=0.05)
    set_forward(redis_client, "rmbg:leased", f"{one.ticket.job_id}|0-10")

    [again] = until(lambda: feed(store))

    assert (again.ticket.epoch, again.queue) == (2, RECOVERY)


def test_a_long_lease_is_not_shortened_by_short_ones(store, redis_client):
    submit(store, 40)
    short, long, _ = feed(store)
    long = grant(store, long, ttl_s=60).lease
    grant(store, short, ttl_s=AT_ONCE_S)
    before = redis_client.zscore("rmbg:leased", f"{long.ticket.job_id}|{long.ticket.unit}")

    until(lambda: feed(store))

    member = f"{long.ticket.job_id}|{long.ticket.unit}"
    assert redis_client.zscore("rmbg:leased", member) == before


def test_a_delayed_ticket_is_issued_in_time_after_the_clock_was_set_back(store, redis_client):
    submit(store, 10)
    [one] = feed(store)
    store.leases.release(grant(store, one).lease, delay_s=0.05)
    set_forward(redis_client, "rmbg:parked", f"{one.ticket.job_id}|0-10")

    assert until(lambda: feed(store))


def test_the_delay_of_a_ticket_grows_until_an_item_ends(store, redis_client):
    submit(store, 10)
    [one] = feed(store)
    member = f"{one.ticket.job_id}|0-10"

    def rest_s(issued, *, ended=()):
        lease = grant(store, issued).lease
        store.leases.mark(lease, [done(i) for i in ended])
        store.leases.release(lease, delay_s=5, longest_s=30)
        parked_ms = redis_client.zscore("rmbg:parked", member)
        redis_client.zadd("rmbg:parked", {member: 0})
        seconds, micros = redis_client.time()
        return round(parked_ms / 1000 - seconds - micros / 1e6)

    def again():
        return until(lambda: feed(store))[0]

    assert [rest_s(one), *(rest_s(again()) for _ in range(4))] == [5, 10, 20, 30, 30]
    assert rest_s(again(), ended=[0]) == 5
    assert rest_s(again()) == 10


def test_a_lost_ticket_is_found_in_time_after_the_clock_was_set_back(make_store, redis_client):
    store = make_store(lost_after_s=0.05)
    submit(store, 10)
    [one] = feed(store)
    set_forward(redis_client, f"rmbg:queued:{BULK}", f"{one.ticket.job_id}|0-10")

    [again] = until(lambda: feed(store, empty_queues=QUEUES))

    assert again.ticket.epoch == 2


def test_tickets_of_a_job_deleted_by_hand_are_removed(make_store, redis_client):
    store = make_store(lost_after_s=0.0)
    job = submit(store, 40)
    first, second, _ = feed(store)
    grant(store, first, ttl_s=AT_ONCE_S)
    store.leases.release(grant(store, second).lease, delay_s=AT_ONCE_S)
    redis_client.delete(*redis_client.keys(f"rmbg:job:{job}*"))

    def nothing_left():
        assert feed(store, empty_queues=QUEUES) == []
        return not redis_client.exists(
            "rmbg:leased", "rmbg:parked", *(f"rmbg:queued:{queue}" for queue in QUEUES)
        )

    until(nothing_left)


# ---- blame


def test_a_range_is_suspect_after_two_deaths(store):
    submit(store, 10)
    [one] = feed(store)

    [again] = die(store, one)
    assert again.queue == RECOVERY
    [again] = die(store, again)
    assert again.queue == SUSPECT
    [again] = store.leases.release(grant(store, again).lease)
    assert again.queue == SUSPECT


@pytest.fixture
def suspect(store):
    """A ticket of ten items after two deaths."""
    submit(store, 10)
    [one] = feed(store)
    for _ in range(2):
        [one] = die(store, one)
    return one


def test_a_deadly_item_fails_within_five_deaths_and_its_neighbours_succeed(store, suspect):
    [job] = store.queries.jobs()
    for death in range(1, 4):
        assert store.queries.status(job.job_id).failed == 0
        [suspect] = die(store, suspect, trying=6, marking=range(6) if death == 1 else ())

    claim = grant(store, suspect)
    assert claim.ended == set(range(7))
    mark_all(store, claim)
    run_to_end(store, issued=close(store, claim.lease))

    status = store.queries.status(job.job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 9, 1)
    assert status.error_classes == {"WorkerCrash": 1}
    assert failed_indexes(store, job.job_id) == [6]


def test_the_record_of_a_deadly_item_contains_the_cause(store, suspect):
    for _ in range(3):
        [suspect] = die(store, suspect, trying=6)
    closing = store.leases.finish_begin(grant(store, suspect).lease)

    [record] = [ItemRecord.from_json(text) for text in closing.records]
    assert (record.index, record.image_key, record.state) == (6, "6.jpg", "failed")
    assert record.error == {
        "class": "WorkerCrash",
        "reason": "3 workers died on this item alone",
    }
    assert record.attempts == 3
    assert set(json.loads(closing.records[0])) == set(json.loads(done(0).to_json()))


def test_the_attempts_of_a_deadly_item_add_up_over_generations(store, suspect):
    [job] = store.queries.jobs()
    for _ in range(3):
        [suspect] = die(store, suspect, trying=6)
    run_to_end(store, issued=[suspect])
    store.submissions.retry(job.job_id)
    [one] = feed(store)
    claim = grant(store, one)
    assert claim.attempts == {6: 3}
    store.leases.beat([claim.lease], ttl_s=AT_ONCE_S)
    [one] = until(lambda: feed(store))
    for _ in range(4):
        [one] = die(store, one, trying=6)

    [record] = map(ItemRecord.from_json, store.queries.open_records(job.job_id))
    assert record.attempts == 6


def test_two_deadly_items_of_one_range_both_fail(store, suspect):
    [job] = store.queries.jobs()
    for index in (2, 7):
        for _ in range(3):
            [suspect] = die(store, suspect, trying=index)

    assert failed_indexes(store, job.job_id) == [2, 7]


def test_deaths_on_different_items_fail_none_of_them(store, suspect):
    """A power failure kills a worker whichever item it tries."""
    [job] = store.queries.jobs()
    for index in (1, 2, 3, 1, 2, 3):
        [suspect] = die(store, suspect, trying=index)

    assert failed_indexes(store, job.job_id) == []


def test_an_ended_item_is_not_blamed(store, suspect):
    """The worker died after it had marked the item that it tried last."""
    [job] = store.queries.jobs()
    [suspect] = die(store, suspect, marking=[4], trying=4)
    for _ in range(3):
        [suspect] = die(store, suspect, trying=4)

    assert store.queries.status(job.job_id).failed == 0


def test_a_death_before_the_first_try_blames_no_item(store, suspect):
    """The item that the previous owner tried is forgotten when the ticket changes hands."""
    [job] = store.queries.jobs()
    for _ in range(2):
        [suspect] = die(store, suspect, trying=6)
    for _ in range(3):
        [suspect] = die(store, suspect)

    assert store.queries.status(job.job_id).failed == 0


def test_releasing_a_suspect_ticket_blames_no_item(store, suspect):
    [job] = store.queries.jobs()
    for _ in range(5):
        lease = grant(store, suspect).lease
        assert store.leases.trying(lease, 6, image_key="6.jpg")
        [suspect] = store.leases.release(lease)
        assert suspect.queue == SUSPECT

    assert store.queries.status(job.job_id).failed == 0


def test_a_complete_range_is_no_longer_suspect(store, suspect):
    [again] = die(store, suspect, marking=range(10))

    assert again.queue == RECOVERY
