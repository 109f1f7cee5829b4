"""Status of jobs and workers."""

from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from support.jobs import done, feed, first_lease, grant, process, run_to_end, submit, worker
from support.until import until

from shared.job.spec import JobState
from shared.jobstore.rules import Rules
from shared.jobstore.status import status_of
from shared.jobstore.values import WorkerInfo

BUCKET = "bucket: cutouts is forbidden"


def waiting_for(store, job):
    return store.queries.status(job).waiting_for


# ---- jobs


def test_jobs_are_listed_newest_first(store):
    jobs = [submit(store, 3, keys=name) for name in "abc"]

    assert [status.job_id for status in store.queries.jobs()] == jobs[::-1]


def test_the_list_is_empty_without_jobs(store):
    assert store.queries.jobs() == []


def test_times_of_a_job_are_server_times_in_utc(store):
    job = submit(store, 3)
    run_to_end(store)

    status = store.queries.status(job)

    assert status.created_at.tzinfo is UTC
    assert status.created_at <= status.finished_at
    assert abs(status.finished_at - datetime.now(UTC)) < timedelta(minutes=1)


# ---- rate

NOW_MS = 1_800_000_000_000
NOW_BUCKET = NOW_MS // 5000


def status_with(rate, *, started_s_ago, total=1000, done_=200, failed_=0, state=b"running"):
    """Return the status of a job; *rate* maps the age of a 5 s bucket to its ended items."""
    job = {
        b"state": state,
        b"model": b"RMBG-1.4",
        b"total": b"%d" % total,
        b"done": b"%d" % done_,
        b"failed": b"%d" % failed_,
        b"created_ms": b"%d" % (NOW_MS - 10**6),
        b"started_ms": b"%d" % (NOW_MS - started_s_ago * 1000),
        b"finished_ms": b"%d" % NOW_MS,
        b"generation": b"1",
    }
    buckets = {b"%d" % (NOW_BUCKET - ago): b"%d" % count for ago, count in rate.items()}
    flat = [list(chain.from_iterable(each.items())) for each in (job, {}, {}, buckets)]
    return status_of("j", flat, now_ms=NOW_MS, workers=[], rules=Rules())


def test_the_rate_covers_the_last_minute():
    status = status_with({1: 60, 5: 40, 11: 10, 12: 1000}, started_s_ago=600)

    assert status.images_per_s == pytest.approx(110 / 55)
    assert status.eta_s == pytest.approx(800 / 2)


def test_the_rate_of_a_young_job_covers_the_time_since_its_start():
    status = status_with({0: 10, 1: 30}, started_s_ago=8)

    assert status.images_per_s == pytest.approx(5.0)


def test_a_stalled_job_has_no_eta():
    status = status_with({50: 100}, started_s_ago=600)

    assert (status.images_per_s, status.eta_s) == (0.0, None)


def test_there_is_no_rate_before_the_first_item():
    status = status_with({}, started_s_ago=5)

    assert (status.images_per_s, status.eta_s) == (None, None)


@pytest.mark.parametrize("state", [b"finishing", b"done", b"cancelled"])
def test_only_a_running_job_has_a_rate(state):
    status = status_with({0: 10}, started_s_ago=5, state=state)

    assert (status.images_per_s, status.eta_s) == (None, None)


def test_marking_updates_the_rate(store):
    job = submit(store, 16)
    lease = first_lease(store)
    store.leases.mark(lease, [done(i) for i in range(8)])
    store.leases.mark(lease, [done(i) for i in range(8)])

    status = store.queries.status(job)

    assert status.images_per_s > 0
    assert status.eta_s == pytest.approx(8 / status.images_per_s)


def test_buckets_outside_the_window_are_removed(make_store, redis_client):
    store = make_store(rate_bucket_s=0.001, rate_buckets=3)
    job = submit(store, 16)
    lease = first_lease(store)
    for index in range(16):
        before = redis_client.time()
        until(lambda before=before: milliseconds(redis_client.time()) > milliseconds(before))
        store.leases.mark(lease, [done(index)])

    assert redis_client.hlen(f"rmbg:job:{job}:rate") <= 4


def milliseconds(time):
    seconds, micros = time
    return seconds * 1000 + micros // 1000


# ---- waiting


def test_a_job_without_workers_waits_for_one(store):
    job = submit(store, 3)
    assert waiting_for(store, job) == "no worker"

    store.fleet.register(worker(), ttl_s=60)

    assert waiting_for(store, job) is None


def test_a_job_whose_model_every_worker_refuses_shows_the_reason(store):
    job = submit(store, 3)
    for name in "ab":
        refuses = worker(name, models=(), refused={"RMBG-1.4": "weights missing"})
        store.fleet.register(refuses, ttl_s=60)

    assert waiting_for(store, job) == "no worker serves RMBG-1.4: weights missing"


@pytest.mark.parametrize(
    "able",
    [worker("b"), worker("b", models=())],
    ids=["serves it", "has not tried yet"],
)
def test_one_worker_that_may_serve_the_model_is_enough(store, able):
    job = submit(store, 3)
    store.fleet.register(worker("a", models=(), refused={"RMBG-1.4": "licence"}), ttl_s=60)
    store.fleet.register(able, ttl_s=60)

    assert waiting_for(store, job) is None


@pytest.fixture
def released(store):
    """A job whose ticket was released because its bucket is forbidden."""
    store.fleet.register(worker(), ttl_s=60)
    job = submit(store, 10)
    [one] = feed(store)
    [again] = store.leases.release(grant(store, one).lease, waiting_for=BUCKET)
    return job, again


def test_a_job_waits_for_the_reason_of_a_release(store, released):
    assert waiting_for(store, released[0]) == BUCKET


def test_the_reason_is_removed_once_items_end_again(store, released):
    job, again = released
    store.leases.mark(grant(store, again).lease, [done(0)])

    assert waiting_for(store, job) is None


def test_the_reason_expires(make_store):
    store = make_store(waiting_fresh_s=0.05)
    store.fleet.register(worker(), ttl_s=60)
    job = submit(store, 10)
    store.leases.release(first_lease(store), waiting_for=BUCKET)

    assert until(lambda: waiting_for(store, job) is None)


def test_the_reason_is_shown_while_the_ticket_is_delayed(make_store):
    store = make_store(waiting_fresh_s=0.0)
    store.fleet.register(worker(), ttl_s=60)
    job = submit(store, 10)
    store.leases.release(first_lease(store), delay_s=60, waiting_for=BUCKET)

    assert waiting_for(store, job) == BUCKET


def test_a_held_ticket_can_say_what_its_job_waits_for(store):
    store.fleet.register(worker(), ttl_s=60)
    job = submit(store, 10)
    lease = first_lease(store)

    assert store.leases.note(lease, BUCKET)
    assert waiting_for(store, job) == BUCKET
    store.leases.mark(lease, [done(0)])
    assert waiting_for(store, job) is None


def test_a_lost_ticket_says_nothing(store):
    store.fleet.register(worker(), ttl_s=60)
    job = submit(store, 10)
    lease = first_lease(store)
    store.leases.release(lease)

    assert not store.leases.note(lease, BUCKET)
    assert waiting_for(store, job) is None


@pytest.fixture
def finishing(store):
    """A job with only its merge left, and the merge ticket."""
    job = submit(store, 3)
    [one] = feed(store)
    [merge] = process(store, one)
    return job, merge


def test_a_finishing_job_can_wait_too(store, finishing):
    """For a worker or for the bucket of its results; no longer for a model."""
    job, merge = finishing
    assert waiting_for(store, job) == "no worker"

    store.fleet.register(worker(models=(), refused={"RMBG-1.4": "licence"}), ttl_s=60)
    assert waiting_for(store, job) is None

    store.leases.release(grant(store, merge).lease, waiting_for=BUCKET)
    assert waiting_for(store, job) == BUCKET


def test_a_worker_whose_device_does_not_work_is_named_as_the_reason(store, finishing):
    """It is registered without slots, and serves no model."""
    merging, _ = finishing
    reason = "device: cuda:0 failed"
    faulty = worker("b", slots=0, models=(), refused={"RMBG-1.4": reason})
    store.fleet.register(faulty, ttl_s=60)
    job = submit(store, 3, keys="other")

    assert waiting_for(store, job) == f"no worker serves RMBG-1.4: {reason}"
    assert waiting_for(store, merging) == "no worker"

    store.fleet.register(worker("a"), ttl_s=60)
    assert waiting_for(store, job) is None


def test_a_job_that_is_done_waits_for_nothing(store):
    job = submit(store, 3)
    run_to_end(store)

    assert store.queries.status(job).state is JobState.DONE
    assert waiting_for(store, job) is None


# ---- workers


def test_a_registered_worker_is_listed_with_its_description(store):
    info = worker("b", refused={"BEN2": "no weights: ä"}, images_per_s=2.5)
    store.fleet.register(info, ttl_s=60)
    store.fleet.register(worker("a"), ttl_s=60)

    assert store.fleet.workers() == [worker("a"), info]


def test_a_worker_that_registers_again_replaces_its_description(store):
    store.fleet.register(worker(), ttl_s=60)
    store.fleet.register(worker(slots=9), ttl_s=60)

    assert store.fleet.workers() == [worker(slots=9)]


def test_a_worker_that_stops_registering_is_removed(store, redis_client):
    store.fleet.register(worker("silent"), ttl_s=0.001)
    until(lambda: store.fleet.workers() == [])

    store.fleet.register(worker("alive"), ttl_s=60)

    assert redis_client.hkeys("rmbg:worker_infos") == [b"alive"]


def test_an_unregistered_worker_is_removed_at_once(store, redis_client):
    store.fleet.register(worker("a"), ttl_s=60)
    store.fleet.register(worker("b"), ttl_s=60)

    store.fleet.unregister("a")
    store.fleet.unregister("never there")

    assert [info.worker_id for info in store.fleet.workers()] == ["b"]
    assert redis_client.hlen("rmbg:worker_infos") == 1


def test_unknown_fields_of_a_later_version_are_ignored():
    text = worker().model_dump_json().removesuffix("}") + ',"colour":"blue"}'

    assert WorkerInfo.model_validate_json(text) == worker()
