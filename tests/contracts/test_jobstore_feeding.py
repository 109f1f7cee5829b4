"""Feeding: how many tickets, of which size, of which job next."""

from collections import Counter

import pytest
from support.jobs import feed, grant, run_to_end, submit, work_off, worker
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, QUEUES
from shared.job.spec import Priority
from shared.job.ticket import Ticket
from shared.jobstore.values import RefusalReason, Refused


def sizes(issued):
    """Items of each ticket."""
    return [len(one.ticket.span) for one in issued]


def test_tickets_cover_every_item_once(store):
    submit(store, 100)

    covered = [index for one in feed(store) for index in one.ticket.span]

    assert covered == list(range(100))


def test_tickets_of_bulk_jobs_go_to_bulk_and_begin_at_epoch_one(store):
    job = submit(store, 20)

    assert [(one.ticket, one.queue) for one in feed(store)] == [
        (Ticket(job, "0-16", 1), BULK),
        (Ticket(job, "16-20", 1), BULK),
    ]


def test_tickets_of_interactive_jobs_go_to_their_own_queue(store):
    submit(store, 20, priority=Priority.INTERACTIVE)

    assert {one.queue for one in feed(store)} == {INTERACTIVE}


def test_feeding_again_issues_nothing_twice(store):
    submit(store, 20)
    feed(store)

    assert feed(store) == []


def test_without_workers_fifty_tickets_are_queued(store):
    """So that a fleet scaled to zero has something to wake up for."""
    submit(store, 10_000)

    assert len(feed(store)) == 50


def test_with_many_slots_three_tickets_a_slot_are_queued(store):
    store.register(worker("a", slots=20), ttl_s=60)
    store.register(worker("b", slots=30), ttl_s=60)
    submit(store, 10_000)

    assert len(feed(store)) == 150


def test_interactive_jobs_have_half_the_high_water_mark_to_themselves(store):
    for n in range(30):
        submit(store, 64, keys=f"i{n}", priority=Priority.INTERACTIVE)
    submit(store, 10_000)

    assert Counter(one.queue for one in feed(store)) == {INTERACTIVE: 25, BULK: 50}


def test_each_claimed_ticket_makes_room_for_one(store):
    submit(store, 10_000)
    first, second, *_ = feed(store)
    grant(store, first)
    grant(store, second)

    assert [one.ticket.unit for one in feed(store)] == ["800-816", "816-832"]


def test_open_jobs_are_fed_in_turn(make_store):
    """The second of two jobs does not wait for the end of the first."""
    store = make_store(high_water_least=6)
    first, second = submit(store, 1000, keys="a"), submit(store, 1000, keys="b")

    assert [one.ticket.job_id for one in feed(store)] == [first, second] * 3


def test_the_turn_is_remembered_between_calls(make_store):
    store = make_store(high_water_least=1)
    jobs = [submit(store, 1000, keys=name) for name in "abc"]
    fed = []
    for _ in range(6):
        [one] = feed(store)
        fed.append(one.ticket.job_id)
        grant(store, one)

    assert fed == jobs * 2


def test_a_job_that_has_been_fed_leaves_its_turns_to_the_others(make_store):
    store = make_store(high_water_least=4)
    short, long = submit(store, 10, keys="short"), submit(store, 1000, keys="long")

    assert [one.ticket.job_id for one in feed(store)] == [short, long, long, long]


@pytest.mark.parametrize(
    ("total", "workers", "expected"),
    [
        pytest.param(10_000, [], 16, id="no worker"),
        pytest.param(10_000, [(3, None)], 16, id="rate unknown"),
        pytest.param(10_000, [(3, 6.0)], 50, id="25 s of a slot"),
        pytest.param(10_000, [(3, 6.0), (1, 2.0)], 50, id="mean of the fleet"),
        pytest.param(10_000, [(3, 6.0), (7, None)], 50, id="unmeasured workers have no say"),
        pytest.param(1200, [(3, 60.0)], 100, id="every slot has four"),
        pytest.param(100_000, [(3, 600.0)], 256, id="at most 256"),
        pytest.param(10_000, [(3, 0.01)], 1, id="at least one"),
        pytest.param(20, [(30, 600.0)], 1, id="at least one, few items"),
    ],
)
def test_a_ticket_is_as_long_as_a_slot_needs_25_s_for(store, total, workers, expected):
    """clamp(min(25 s x rate of a slot, total / (4 x fleet slots)), 1, 256), 16 while unknown."""
    for n, (slots, rate) in enumerate(workers):
        store.register(worker(f"w{n}", slots=slots, images_per_s=rate), ttl_s=60)
    submit(store, total)

    assert sizes(feed(store))[0] == expected


def test_the_last_tickets_of_a_job_get_smaller(make_store):
    """So that all slots end together: a ticket is at most what is left for each slot, and 16."""
    store = make_store(high_water_least=100)
    store.register(worker("w", slots=4, images_per_s=400.0), ttl_s=60)
    submit(store, 4096)

    found = sizes(feed(store))
    assert found[:13] == [256] * 13
    assert found[13:17] == [192, 144, 108, 81]
    assert set(found[-4:-1]) == {16}
    assert found == sorted(found, reverse=True)
    assert sum(found) == 4096


def test_a_ticket_says_which_queue_it_came_from(store):
    submit(store, 5, keys="bulk")
    submit(store, 5, keys="urgent", priority=Priority.INTERACTIVE)

    assert {grant(store, one).queue for one in feed(store)} == {BULK, INTERACTIVE}


def test_every_queue_that_tickets_are_issued_to_is_one_that_workers_serve(make_store):
    """The scripts name the queues once more; this holds the two lists together."""
    store = make_store(suspect_deaths=1)
    submit(store, 5, keys="bulk")
    submit(store, 5, keys="urgent", priority=Priority.INTERACTIVE)
    fed = {one.queue: one for one in feed(store)}

    [released] = store.release(grant(store, fed[BULK]).lease)
    grant(store, fed[INTERACTIVE], ttl_s=0.001)
    [suspect] = until(lambda: feed(store))

    assert {*fed, released.queue, suspect.queue} == set(QUEUES)


def test_a_retry_of_few_items_among_many_is_cut_into_few_tickets(store):
    """Otherwise a million items with one in a hundred failed would be thousands of shards."""
    failing = set(range(0, 1000, 100))
    job = submit(store, 1000)
    run_to_end(store, failing=failing)
    store.retry(job)

    issued = feed(store)

    assert len(issued) <= 5
    covered = set()
    for one in issued:
        claim = grant(store, one)
        covered |= set(one.ticket.span) - claim.ended
    assert covered == failing


def test_a_retry_of_one_item_asks_for_no_more_than_that(store):
    store.register(worker(slots=1, images_per_s=1000.0), ttl_s=600)
    job = submit(store, 5000)
    run_to_end(store, failing={2345})
    store.retry(job)

    assert [one.ticket.unit for one in feed(store)] == ["2345-2346"]


def test_a_retry_of_everything_is_cut_like_the_first_time(store):
    job = submit(store, 40)
    run_to_end(store, failing=set(range(40)))
    store.retry(job)

    assert sizes(feed(store)) == [16, 16, 8]


def test_a_ticket_of_an_ended_job_is_gone(store):
    submit(store, 5)
    [one] = feed(store)
    [merge] = work_off(store, one)
    work_off(store, merge)

    for ticket in (one.ticket, merge.ticket):
        assert store.claim(ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
