"""Fairness: tenants are fed in turn by weight, and a small one does not wait for a large one."""

from collections import Counter

import pytest
from support.jobs import feed, grant, process, run_to_end, submit

from shared.broker.queues import BULK, INTERACTIVE
from shared.job.spec import JobState, Priority

LARGE = 100_000


def served(store, tickets):
    """Feed and claim *tickets* tickets one by one; return the items issued for each job."""
    items = Counter()
    for _ in range(tickets):
        for one in feed(store):
            items[one.ticket.job_id] += len(one.ticket.span)
            grant(store, one)
    return items


@pytest.fixture
def one_at_a_time(make_store):
    """A store that queues one ticket at a time, so that the order of feeding shows."""
    return make_store(high_water_least=1)


def test_tenants_are_fed_by_weight(one_at_a_time):
    store = one_at_a_time
    weights = {"a": 1, "b": 2, "c": 4}
    jobs = {
        tenant: submit(store, LARGE, keys=tenant, tenant=tenant, weight=weight)
        for tenant, weight in weights.items()
    }

    items = served(store, 350)

    total = items.total()
    for tenant, weight in weights.items():
        assert items[jobs[tenant]] / total == pytest.approx(weight / 7, rel=0.05), tenant


def test_many_jobs_of_a_tenant_get_no_more_than_one_of_another(one_at_a_time):
    store = one_at_a_time
    many = [submit(store, LARGE, keys=f"a{n}", tenant="a") for n in range(9)]
    one = submit(store, LARGE, keys="b", tenant="b")

    items = served(store, 90)

    assert items[one] == items.total() / 2
    assert len({items[job] for job in many}) == 1


def test_jobs_without_a_tenant_take_turns_as_one_tenant(one_at_a_time):
    store = one_at_a_time
    shell = [submit(store, LARGE, keys=f"s{n}") for n in range(3)]
    one = submit(store, LARGE, keys="b", tenant="b")

    items = served(store, 60)

    assert items[one] == sum(items[job] for job in shell)


def test_a_small_job_overtakes_the_queued_tickets_of_a_large_one(store):
    submit(store, LARGE, keys="large", tenant="large")
    assert {one.queue for one in feed(store)} == {BULK}
    small = submit(store, 10, keys="small", tenant="small")

    [one] = feed(store)

    assert (one.ticket.job_id, one.queue) == (small, INTERACTIVE)


def test_only_the_first_items_overtake(make_store):
    store = make_store(high_water_least=60)
    submit(store, 16 * 40, keys="first", tenant="first")
    assert len(feed(store)) == 40
    second = submit(store, LARGE, keys="second", tenant="second")

    queues = Counter()
    for one in feed(store):
        assert one.ticket.job_id == second
        queues[one.queue] += len(one.ticket.span)

    assert queues == {INTERACTIVE: 64, BULK: 16 * 20}


def test_a_tenant_that_is_alone_overtakes_nobody(store):
    submit(store, LARGE, keys="a", tenant="a")

    assert {one.queue for one in feed(store)} == {BULK}


def test_a_tenant_cannot_overtake_again_and_again(store):
    """Who splits a large job into small ones gets no more than its share."""
    submit(store, LARGE, keys="large", tenant="large")
    feed(store)
    queues = Counter()
    for n in range(20):
        submit(store, 60, keys=f"part {n}", tenant="splitter")
        queues.update(one.queue for one in feed(store) for _ in one.ticket.span)

    assert queues[INTERACTIVE] <= 64
    assert queues[BULK] == 0  # the queue is full, and the large job is next


def test_a_tenant_that_was_idle_saves_up_no_turns(one_at_a_time):
    store = one_at_a_time
    early = submit(store, 16, keys="early", tenant="idle")
    long = submit(store, LARGE, keys="busy", tenant="busy")
    served(store, 40)
    late = submit(store, LARGE, keys="late", tenant="idle")

    items = served(store, 40)

    assert items[early] == 0
    assert items[late] == pytest.approx(items[long], abs=64 + 16)


def test_interactive_jobs_are_fed_in_turns_too(make_store):
    store = make_store(high_water_least=2)
    jobs = {
        tenant: [
            submit(store, 64, keys=f"{tenant}{n}", tenant=tenant, priority=Priority.INTERACTIVE)
            for n in range(count)
        ]
        for tenant, count in (("a", 8), ("b", 1))
    }
    fed = []
    while issued := feed(store):
        for one in issued:
            assert one.queue == INTERACTIVE
            fed.append(one.ticket.job_id)
            grant(store, one)
    last_of_b = max(n for n, job in enumerate(fed) if job in jobs["b"])
    assert last_of_b <= 8


def test_jobs_of_all_tenants_end_and_are_counted(store):
    jobs = [submit(store, 40, keys=name, tenant=name) for name in "abc"]
    jobs.append(submit(store, 40, keys="shell"))
    assert store.fleet.totals().open_images == 160

    run_to_end(store)

    assert {store.queries.status(job).state for job in jobs} == {JobState.DONE}
    assert feed(store) == []


def test_a_job_in_the_list_of_version_0_1_is_fed(store, redis_client):
    """A producer of version 0.1 appends to the list and knows no turns."""
    job = submit(store, 16)
    redis_client.delete("rmbg:turns:rmbg.bulk", "rmbg:served:rmbg.bulk")

    assert [one.ticket.job_id for one in feed(store)] == [job]


def test_a_retry_takes_the_turns_of_its_tenant(store):
    job = submit(store, 16, keys="a", tenant="a")
    [one] = feed(store)
    [merge] = process(store, one, failing={3})
    process(store, merge)
    submit(store, LARGE, keys="b", tenant="b")
    feed(store)
    store.submissions.retry(job)

    assert [one.ticket.job_id for one in feed(store)] == [job]


def test_a_tenant_with_one_small_job_after_another_gets_only_its_share(one_at_a_time):
    store = one_at_a_time
    large = submit(store, LARGE, keys="large", tenant="large")
    items = Counter()
    for n in range(200):
        if items["parts"] >= 160 * sum(name.startswith("part") for name in items) - 160:
            items[f"part {n}"] = 0
            submit(store, 160, keys=f"part {n}", tenant="splitter")
        [one] = feed(store)
        items["large" if one.ticket.job_id == large else "parts"] += len(one.ticket.span)
        grant(store, one)

    assert items["parts"] == pytest.approx(items["large"], rel=0.15)


def test_small_jobs_overtake_one_after_another_within_their_share(store):
    large = submit(store, LARGE, keys="large", tenant="large")
    waiting = feed(store)
    queues = Counter()
    for n in range(40):  # 400 images, of 640 that the large job gets meanwhile
        small = submit(store, 10, keys=f"small {n}", tenant="small")
        issued = feed(store)
        queues.update(one.queue for one in issued if one.ticket.job_id == small)
        process(store, waiting.pop(0))
        waiting += [one for one in issued if one.ticket.job_id == large]

    assert queues == {INTERACTIVE: 40}


def test_small_jobs_do_not_overtake_beyond_their_share(store):
    large = submit(store, LARGE, keys="large", tenant="large")
    waiting = feed(store)
    early = 0
    for n in range(40):  # 2,400 images
        small = submit(store, 60, keys=f"small {n}", tenant="small")
        issued = feed(store)
        early += sum(
            len(one.ticket.span)
            for one in issued
            if one.ticket.job_id == small and one.queue == INTERACTIVE
        )
        process(store, waiting.pop(0))
        waiting += [one for one in issued if one.ticket.job_id == large]

    assert early <= 64 + 40 * 16  # what the large job gets meanwhile
