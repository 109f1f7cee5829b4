"""Feeding: how many tickets, of which size, and of which job next."""

from collections import Counter

import pytest
from support.jobs import feed, grant, process, run_to_end, submit, worker
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


def test_tickets_of_bulk_jobs_go_to_the_bulk_queue_with_epoch_one(store):
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


def test_fifty_tickets_are_queued_without_workers(store):
    """A fleet scaled to zero needs a reason to start."""
    submit(store, 10_000)

    assert len(feed(store)) == 50


def test_three_tickets_per_slot_are_queued_with_many_slots(store):
    store.fleet.register(worker("a", slots=20), ttl_s=60)
    store.fleet.register(worker("b", slots=30), ttl_s=60)
    submit(store, 10_000)

    assert len(feed(store)) == 150


def test_interactive_tickets_have_a_high_water_mark_of_their_own(store):
    for n in range(70):
        submit(store, 64, keys=f"i{n}", priority=Priority.INTERACTIVE)
    submit(store, 10_000)

    assert Counter(one.queue for one in feed(store)) == {INTERACTIVE: 256, BULK: 50}


def test_each_claimed_ticket_is_replaced_by_one(store):
    submit(store, 10_000)
    first, second, *_ = feed(store)
    grant(store, first)
    grant(store, second)

    assert [one.ticket.unit for one in feed(store)] == ["800-816", "816-832"]


def test_open_jobs_are_fed_round_robin(make_store):
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


def test_a_completely_fed_job_leaves_its_turns_to_others(make_store):
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
def test_a_ticket_holds_25_s_of_work_for_a_slot(store, total, workers, expected):
    """clamp(min(25 s x rate of a slot, total / (4 x fleet slots)), 1, 256), 16 while unknown."""
    for n, (slots, rate) in enumerate(workers):
        store.fleet.register(worker(f"w{n}", slots=slots, images_per_s=rate), ttl_s=60)
    submit(store, total)

    assert sizes(feed(store))[0] == expected


def test_the_last_tickets_of_a_job_get_smaller(make_store):
    """At most four times an even share of the items left, at least 16: all slots end together."""
    store = make_store(high_water_least=100)
    store.fleet.register(worker("w", slots=4, images_per_s=400.0), ttl_s=60)
    submit(store, 4096)

    found = sizes(feed(store))
    assert found[:13] == [256] * 13
    assert found[13:17] == [192, 144, 108, 81]
    assert set(found[-4:-1]) == {16}
    assert found == sorted(found, reverse=True)
    assert sum(found) == 4096


def test_a_claim_contains_the_queue_of_the_ticket(store):
    submit(store, 5, keys="bulk")
    submit(store, 5, keys="urgent", priority=Priority.INTERACTIVE)

    assert {grant(store, one).queue for one in feed(store)} == {BULK, INTERACTIVE}


def test_tickets_are_only_issued_to_queues_that_workers_consume(make_store):
    """The scripts repeat the names of the queues; this compares the two lists."""
    store = make_store(suspect_deaths=1)
    submit(store, 5, keys="bulk")
    submit(store, 5, keys="urgent", priority=Priority.INTERACTIVE)
    fed = {one.queue: one for one in feed(store)}

    [released] = store.leases.release(grant(store, fed[BULK]).lease)
    grant(store, fed[INTERACTIVE], ttl_s=0.001)
    [suspect] = until(lambda: feed(store))

    assert {*fed, released.queue, suspect.queue} == set(QUEUES)


def test_a_retry_of_few_items_among_many_needs_few_tickets(store):
    """Otherwise one failure in a hundred of a million items would need thousands of shards."""
    failing = set(range(0, 1000, 100))
    job = submit(store, 1000)
    run_to_end(store, failing=failing)
    store.submissions.retry(job)

    issued = feed(store)

    assert len(issued) <= 5
    covered = set()
    for one in issued:
        claim = grant(store, one)
        covered |= set(one.ticket.span) - claim.ended
    assert covered == failing


def test_a_retry_of_one_item_covers_only_that_item(store):
    store.fleet.register(worker(slots=1, images_per_s=1000.0), ttl_s=600)
    job = submit(store, 5000)
    run_to_end(store, failing={2345})
    store.submissions.retry(job)

    assert [one.ticket.unit for one in feed(store)] == ["2345-2346"]


def test_a_retry_of_all_items_is_split_like_the_first_run(store):
    job = submit(store, 40)
    run_to_end(store, failing=set(range(40)))
    store.submissions.retry(job)

    assert sizes(feed(store)) == [16, 16, 8]


def test_a_ticket_of_an_ended_job_is_gone(store):
    submit(store, 5)
    [one] = feed(store)
    [merge] = process(store, one)
    process(store, merge)

    for ticket in (one.ticket, merge.ticket):
        assert store.leases.claim(ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
