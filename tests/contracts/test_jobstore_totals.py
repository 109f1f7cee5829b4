"""Sums over all jobs and workers, as the metrics show them."""

import json

import pytest
from support.jobs import (
    feed,
    first_lease,
    grant,
    mark_all,
    process,
    run_to_end,
    submit,
    worker,
)

from shared.job.spec import Priority


@pytest.fixture
def fresh_totals(store, redis_client):
    """Return the totals without the result that Redis keeps for a few seconds."""

    def fresh():
        redis_client.delete("rmbg:totals")
        return store.fleet.totals()

    return fresh


def test_totals_are_zero_without_jobs_and_workers(fresh_totals):
    totals = fresh_totals()

    assert (totals.open_jobs, totals.open_images, totals.oldest_s) == (0, 0, 0)
    assert (totals.workers, totals.slots, totals.images_per_s) == (0, 0, 0)
    assert set(totals.tickets.values()) == {0}
    assert totals.backlog_s == 0


def test_only_open_items_of_open_jobs_count(store, fresh_totals):
    submit(store, 7, keys="over")
    run_to_end(store)
    submit(store, 10, keys="begun")
    mark_all(store, grant(store, feed(store)[0]), failing=[0])
    submit(store, 30, keys="whole")

    totals = fresh_totals()

    assert (totals.open_jobs, totals.open_images) == (2, 30)


def held(store):
    return grant(store, feed(store)[0]).lease


STAGES = {
    "not fed": lambda store: None,
    "queued": feed,
    "held": held,
    "released": lambda store: store.leases.release(held(store)),
    "delayed": lambda store: store.leases.release(held(store), delay_s=60),
    "cancelled": lambda store: store.submissions.cancel(store.queries.jobs()[0].job_id),
    "waiting for the merge": lambda store: process(store, feed(store)[0]),
    "merging": lambda store: grant(store, process(store, feed(store)[0])[0]),
}


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("stage", STAGES)
def test_an_open_job_counts_once_wherever_its_tickets_are(store, stage, priority, fresh_totals):
    submit(store, 10, priority=priority)
    STAGES[stage](store)

    assert fresh_totals().open_jobs == 1


def test_ended_jobs_do_not_make_totals_slower(store, redis_client, fresh_totals):
    """Redis may keep a million of them, and serves no other client meanwhile."""

    def calls():
        before = redis_client.info("commandstats")
        fresh_totals()
        after = redis_client.info("commandstats")
        names = after.keys() - {"cmdstat_info"}
        return sum(after[n]["calls"] - before.get(n, {"calls": 0})["calls"] for n in names)

    submit(store, 10, keys="open")
    with_one = calls()
    for n in range(5):
        submit(store, 10, keys=f"k{n}", priority=Priority.INTERACTIVE)
    run_to_end(store)
    submit(store, 10, keys="open too")

    assert calls() == with_one


def test_images_of_a_cancelled_job_are_not_open(store, fresh_totals):
    job = submit(store, 30)
    first_lease(store)
    store.submissions.cancel(job)

    totals = fresh_totals()

    assert (totals.open_jobs, totals.open_images) == (1, 0)


def test_oldest_s_is_the_age_of_the_oldest_open_job(store, redis_client, fresh_totals):
    for keys in "ab":
        submit(store, 3, keys=keys)
    old = submit(store, 3, keys="old")
    redis_client.hincrby(f"rmbg:job:{old}", "created_ms", -5_000_000)

    assert 5000 <= fresh_totals().oldest_s < 5060


def test_tickets_are_counted_by_place(store, fresh_totals):
    submit(store, 64)
    issued = feed(store)
    grant(store, issued[0])
    store.leases.release(grant(store, issued[1]).lease)
    store.leases.release(grant(store, issued[2]).lease, delay_s=60)

    tickets = fresh_totals().tickets

    assert tickets["leased"] == 1
    assert tickets["rmbg.recovery"] == 1
    assert tickets["parked"] == 1
    assert tickets["rmbg.bulk"] == len(issued) - 3
    assert tickets["rmbg.interactive"] == tickets["rmbg.suspect"] == 0


def test_the_backlog_follows_from_the_rate_of_all_workers(store, fresh_totals):
    submit(store, 30)
    assert fresh_totals().backlog_s is None
    store.fleet.register(worker("a", slots=3, images_per_s=1.5), ttl_s=60)
    store.fleet.register(worker("b", slots=2, images_per_s=4.5), ttl_s=60)
    store.fleet.register(worker("unmeasured", slots=1), ttl_s=60)

    totals = fresh_totals()

    assert (totals.workers, totals.slots, totals.images_per_s) == (3, 6, 6)
    assert totals.backlog_s == 5


def test_many_clients_share_one_computation(make_store, redis_client):
    store = make_store(totals_kept_s=60)
    submit(store, 3, keys="a")
    assert store.fleet.totals().open_jobs == 1

    submit(store, 3, keys="b")

    assert store.fleet.totals().open_jobs == 1
    assert 59_000 < redis_client.pttl("rmbg:totals") <= 60_000
    assert json.loads(redis_client.get("rmbg:totals"))["open_jobs"] == 1
