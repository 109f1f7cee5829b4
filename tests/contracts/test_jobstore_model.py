"""The whole job store under random faults, driven by seeds."""

import random
import re

import pytest
from support.fleet import Fleet
from support.jobs import events, failed_indexes, submit, worker

from shared.job.spec import TERMINAL_STATES, JobState, Priority
from shared.jobstore import layout

ROWS = re.findall(r"^\| `(\S+)` \|", layout.__doc__, re.MULTILINE)
KNOWN = re.compile("|".join(re.sub(r"\\{\w+\\}", "[^:]+", re.escape(r)) for r in ROWS))


def has_ended(store, *jobs):
    return lambda: all(store.queries.status(job).state in TERMINAL_STATES for job in jobs)


def left_over(client):
    """Return keys of tickets, leases and records, and keys missing from the table."""
    keys = {key.decode() for key in client.scan_iter()}
    of_tickets = re.compile(r":(ticket|tickets|records|queued|leased|parked)")
    open_ = [key for key in keys if of_tickets.search(key)]
    return open_, [key for key in keys if not KNOWN.fullmatch(key)]


@pytest.mark.parametrize("seed", range(6))
def test_every_item_ends_once_under_random_faults(store, redis_client, seed):
    rng = random.Random(seed)
    total = 2000
    bad, killers = set(rng.sample(range(total), 40)), {rng.randrange(total), rng.randrange(total)}
    store.fleet.register(worker(slots=4, images_per_s=rng.choice([None, 2.0])), ttl_s=600)
    fleet = Fleet(store, redis_client, seed=seed, bad=bad - killers, killers=killers)
    job = submit(store, total)
    small = submit(store, 64, keys="small", priority=Priority.INTERACTIVE)

    fleet.run(until=has_ended(store, job, small))

    status = store.queries.status(job)
    assert (status.state, status.done + status.failed) == (JobState.DONE, total)
    expected = {"UndecodableImage": len(bad - killers), "WorkerCrash": len(killers)}
    assert status.error_classes == expected
    assert status.failed == len(bad | killers)
    assert status.verdicts == {"good": total - status.failed}
    assert set(failed_indexes(store, job)) == bad | killers
    results = fleet.results[job]
    assert set(results) == set(range(total))
    assert {i for i, record in results.items() if record["state"] == "failed"} == bad | killers
    assert sorted(fleet.results[small]) == list(range(64))
    assert sorted(event["job_id"] for event in events(redis_client)) == sorted([job, small])
    assert left_over(redis_client) == ([], [])
    assert fleet.deaths > 5


@pytest.mark.parametrize("seed", range(3))
def test_every_failed_item_is_processed_once_in_a_retry(store, redis_client, seed):
    rng = random.Random(seed)
    bad, killers = set(rng.sample(range(600), 60)), {rng.randrange(600)}
    fleet = Fleet(store, redis_client, seed=seed, bad=bad - killers, killers=killers)
    job = submit(store, 600)
    fleet.run(until=has_ended(store, job))
    still_bad = set(rng.sample(sorted(bad - killers), 10))
    fleet.bad, fleet.killers = still_bad, set()

    assert store.submissions.retry(job) == len(bad | killers)
    fleet.run(until=has_ended(store, job))

    status = store.queries.status(job)
    assert (status.done, status.failed, status.generation) == (590, 10, 2)
    assert status.error_classes == {"UndecodableImage": 10}
    results = fleet.results[job]
    assert set(results) == set(range(600))
    assert {i for i, record in results.items() if record["state"] == "failed"} == still_bad
    assert [event["generation"] for event in events(redis_client)] == ["1", "2"]
    assert left_over(redis_client) == ([], [])


@pytest.mark.parametrize("seed", range(4))
def test_a_cancelled_job_ends_with_a_record_of_every_counted_item(store, redis_client, seed):
    fleet = Fleet(store, redis_client, seed=seed, bad=range(0, 1000, 9))
    job = submit(store, 1000)
    fleet.run(until=lambda: store.queries.status(job).done > 200)

    store.submissions.cancel(job)
    fleet.run(until=has_ended(store, job))

    status = store.queries.status(job)
    assert status.state is JobState.CANCELLED
    assert 200 < status.done + status.failed < 1000
    states = [record["state"] for record in fleet.results[job].values()]
    assert (states.count("done"), states.count("failed")) == (status.done, status.failed)
    assert [event["event"] for event in events(redis_client)] == ["job.cancelled"]
    assert left_over(redis_client) == ([], [])
