"""Submitting: each submission creates one job, whatever fails on the way."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.jobs import feed, run_to_end, spec, stage, submission, submit
from support.redis_server import RedisServer
from support.until import until

from shared.errors import JobConflict, NoKeys, RedisFull, RedisUnavailable, UnknownJob
from shared.job import manifest
from shared.job.manifest import MAX_REDIS_KEYS
from shared.job.spec import JobState, Naming
from shared.job.ticket import JOB_ID
from shared.jobstore.store import JobStore
from shared.jobstore.submissions import Submitted


def test_a_submission_creates_a_running_job_with_its_parameters(store):
    wanted = submission(600, job_id="autumn", save_prefix="shop/autumn", prompt={"a": None})
    stage(store, wanted)

    made = store.submissions.submit(wanted)

    assert (made.job_id, made.created) == ("autumn", True)
    assert store.queries.spec("autumn") == wanted.spec
    status = store.queries.status("autumn")
    assert (status.state, status.total, status.done, status.failed) == (JobState.RUNNING, 600, 0, 0)
    assert (status.generation, status.finished_at) == (1, None)


def test_a_job_is_known_from_its_submission_until_redis_forgets_it(store, redis_client):
    assert not store.queries.is_known("j")

    submit(store, 1, job_id="j")
    assert store.queries.is_known("j")

    redis_client.delete("rmbg:job:j")
    assert not store.queries.is_known("j")


def test_a_proposed_id_is_that_of_a_job_that_is_created_and_no_other(store):
    first = replace(submission(1, nonce="a"), proposed="first")
    again = replace(submission(1, nonce="b"), proposed="again")
    given = replace(submission(1, nonce="c", job_id="given"), proposed="other")
    for each in (first, again, given):
        stage(store, each)

    assert store.submissions.submit(first) == Submitted("first", created=True)
    assert store.submissions.submit(first) == Submitted("first", created=True)
    assert store.submissions.submit(again) == Submitted("first", created=False)
    assert store.submissions.submit(given) == Submitted("given", created=True)


def test_staged_keys_become_the_manifest_and_do_not_expire(store, redis_client):
    job = submit(store, 600)

    names = [
        name for n in range(2) for name in manifest.unpack(store.queries.manifest_chunk(job, n))
    ]
    assert names == [f"{n}.jpg" for n in range(600)]
    assert redis_client.ttl(f"rmbg:job:{job}:manifest") == -1
    assert not redis_client.keys("rmbg:staged:*")


def test_staged_keys_without_a_submission_expire_after_an_hour(store, redis_client):
    stage(store, submission(1, nonce="n"))

    assert 3500 < redis_client.ttl("rmbg:staged:n") <= 3600


def test_a_chunk_outside_redis_is_none(store):
    """Chunks above a million keys are in the bucket."""
    job = submit(store, 1)

    assert store.queries.manifest_chunk(job, 1) is None


def test_a_job_of_over_a_million_keys_needs_only_the_first_million_staged(store):
    here = submission(MAX_REDIS_KEYS)
    stage(store, here)

    assert store.submissions.submit(replace(here, total=MAX_REDIS_KEYS + 5_000)).created


def test_a_given_id_always_joins_its_job(store):
    first, second = submission(3, job_id="mine"), submission(3, job_id="mine")
    stage(store, first)
    store.submissions.submit(first)
    run_to_end(store)

    again = store.submissions.submit(second)

    assert (again.job_id, again.created) == ("mine", False)
    assert store.queries.status("mine").state is JobState.DONE


@pytest.mark.parametrize(
    "other", [{"keys": "others"}, {"save_prefix": "elsewhere"}], ids=["keys", "parameters"]
)
def test_a_given_id_conflicts_with_other_keys_or_parameters(store, other):
    submit(store, 3, job_id="mine")

    with pytest.raises(JobConflict, match="mine"):
        submit(store, 3, job_id="mine", **other)

    assert store.queries.status("mine").total == 3


def test_counter_and_date_do_not_distinguish_jobs(store):
    """Submissions of the same keys reserve different numbers, perhaps on different days."""
    job = submit(store, 3, naming=Naming.COMFYUI, counter_base=1, date="2026-03-01")

    twin = submission(3, naming=Naming.COMFYUI, counter_base=4, date="2026-03-02")

    assert store.submissions.submit(twin).job_id == job
    assert store.queries.spec(job).counter_base == 1


def test_an_identical_submission_without_an_id_joins_the_running_job(store, redis_client):
    job = submit(store, 3)
    twin = submission(3)
    stage(store, twin)

    again = store.submissions.submit(twin)

    assert (again.job_id, again.created) == (job, False)
    assert not redis_client.keys("rmbg:staged:*")


@pytest.mark.parametrize("job_id", [None, "mine"], ids=["derived id", "given id"])
def test_a_repeated_submission_returns_created_again_after_a_lost_reply(store, job_id):
    """A producer that joins deletes its staged chunks, but this job reads them."""
    wanted = submission(600, job_id=job_id)
    stage(store, wanted)

    first, again = store.submissions.submit(wanted), store.submissions.submit(wanted)

    assert again == first
    assert again.created
    assert store.queries.manifest_chunk(again.job_id, 1)
    assert len(store.queries.jobs()) == 1


def test_a_derived_id_is_valid_in_tickets(store):
    assert JOB_ID.fullmatch(submit(store, 3))


def test_other_keys_or_parameters_create_another_job(store):
    jobs = {submit(store, 3), submit(store, 3, keys="others"), submit(store, 3, save_prefix="p")}

    assert len(jobs) == 3


def test_a_job_that_has_just_ended_is_joined(store):
    job = submit(store, 3)
    run_to_end(store)

    assert submit(store, 3) == job


def test_a_job_that_ended_a_while_ago_is_created_again(make_store):
    store = make_store(join_after_end_s=0.05)
    job = submit(store, 3)
    run_to_end(store)

    later = until(lambda: (twin := submit(store, 3)) != job and twin)

    assert store.queries.status(later).state is JobState.RUNNING
    assert submit(store, 3) == later


def test_a_cancelled_job_is_not_joined(store):
    """A user who submits it again wants it processed."""
    job = submit(store, 3)
    store.submissions.cancel(job)

    assert submit(store, 3) != job


def test_a_retried_job_is_joined_while_it_runs(make_store):
    store = make_store(join_after_end_s=0.0)
    job = submit(store, 3)
    run_to_end(store, failing={1})
    store.submissions.retry(job)

    assert submit(store, 3) == job


def test_expired_jobs_are_removed_from_the_list_by_new_ones(make_store, redis_client):
    """The list is rarely read, so each new job checks a few entries."""
    store = make_store(keep_after_end_s=0.001)
    for n in range(40):
        job = submit(store, 1, job_id=f"j{n}")
        run_to_end(store)
        until(lambda job=job: not redis_client.exists(f"rmbg:job:{job}"))

    assert redis_client.zcard("rmbg:jobs") <= 12


def test_existing_jobs_stay_in_the_list(store):
    jobs = {submit(store, 1, keys=f"k{n}") for n in range(40)}

    assert {status.job_id for status in store.queries.jobs()} == jobs


def test_twenty_concurrent_submissions_create_one_job(store):
    wanted = [submission(3) for _ in range(20)]
    for each in wanted:
        stage(store, each)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(store.submissions.submit, wanted))

    assert len({answer.job_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert len(store.queries.jobs()) == 1
    assert len(feed(store)) == 1


def test_sequence_numbers_increase_even_after_redis_lost_them(store, redis_client):
    """Outputs in the bucket carry the number; a job with a lower one would write nothing."""
    first = submit(store, 1, job_id="a")
    second = submit(store, 1, job_id="b")
    numbers = [int(redis_client.hget(f"rmbg:job:{job}", "sequence")) for job in (first, second)]
    redis_client.flushall()
    until(lambda: time.time() * 1000 > numbers[-1] + 1)
    third = submit(store, 1, job_id="c")
    numbers.append(int(redis_client.hget(f"rmbg:job:{third}", "sequence")))

    assert numbers == sorted(set(numbers))


def test_a_key_that_occurs_twice_is_two_items(store):
    wanted = submission(2)
    store.submissions.stage(wanted.manifest, 0, [manifest.pack(["same.jpg", "same.jpg"])])
    job = store.submissions.submit(wanted).job_id

    run_to_end(store)

    assert (store.queries.status(job).total, store.queries.status(job).done) == (2, 2)


def test_an_empty_submission_creates_no_job(store):
    with pytest.raises(NoKeys):
        store.submissions.submit(submission(0))

    assert store.queries.jobs() == []


def test_a_submission_without_its_staged_keys_creates_no_job(store):
    """They were staged over an hour ago, or Redis has lost them."""
    with pytest.raises(RedisUnavailable, match="staged keys"):
        store.submissions.submit(submission(3))

    assert store.queries.jobs() == []


def test_a_submission_with_a_missing_chunk_creates_no_job(store):
    wanted = submission(600)
    store.submissions.stage(wanted.manifest, 0, [manifest.pack(["a"] * 512)])

    with pytest.raises(RedisUnavailable, match="staged keys"):
        store.submissions.submit(wanted)


def test_an_unknown_job_raises_in_every_method(store):
    for question in (
        store.queries.status,
        store.queries.spec,
        store.submissions.cancel,
        store.submissions.retry,
    ):
        with pytest.raises(UnknownJob, match="nosuch"):
            question("nosuch")


def test_reserved_numbers_follow_listed_and_reserved_ones(store):
    def reserve(listed_highest, count, stem="ComfyUI"):
        return store.submissions.reserve_numbers(
            "b", stem, listed_highest=listed_highest, count=count
        )

    assert reserve(7, 10) == 8
    assert reserve(7, 5) == 18
    assert reserve(100, 1) == 101
    assert reserve(0, 1, stem="other") == 1


def test_concurrent_reservations_do_not_overlap(store):
    with ThreadPoolExecutor(8) as pool:
        bases = pool.map(
            lambda _: store.submissions.reserve_numbers("b", "s", listed_highest=0, count=10),
            range(40),
        )

    assert sorted(bases) == list(range(1, 401, 10))


def test_a_nearly_full_redis_rejects_new_jobs_and_finishes_the_others(tmp_path):
    """The rest of the memory is for the records of running jobs."""
    with RedisServer(options=["--maxmemory", "20mb"]) as server, server.client() as client:
        store = JobStore.connect(server.url)
        job = submit(store, 40)
        late = submission(3, keys="late")
        stage(store, late)
        for n in range(16):
            client.set(f"ballast:{n}", b"x" * 1_000_000)

        with pytest.raises(RedisFull, match="bytes"):
            store.submissions.submit(late)
        with pytest.raises(RedisFull, match="bytes"):
            stage(store, submission(3))

        client.config_set("maxmemory", "1mb")
        run_to_end(store)

        assert store.queries.status(job).done == 40
        with pytest.raises(RedisFull, match="memory limit"):
            store.submissions.reserve_numbers("b", "s", listed_highest=0, count=1)
        store.close()


def test_durable_waits_for_the_disk_if_there_is_an_append_only_file(store):
    with RedisServer(append_only=True) as server:
        durable_store = JobStore.connect(server.url)
        submit(durable_store, 3)

        assert durable_store.submissions.durable(4.0)
        durable_store.close()

    assert not store.submissions.durable(0.1)


def test_an_error_names_the_server_without_its_password():
    store = JobStore.connect("redis://user:s3cret@127.0.0.1:9/4")

    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:9/4") as caught:
        store.ping()

    assert "s3cret" not in str(caught.value)


def test_identical_parameters_identify_the_same_job(store):
    assert submit(store, 3) == store.submissions.submit(submission(3)).job_id
    assert spec() == store.queries.spec(submit(store, 3))


def test_one_gateway_holds_a_submission_until_its_time_is_over(store, redis_client):
    hold = store.submissions.hold

    assert hold("sub-1", "a", 60, is_held=False)
    assert not hold("sub-1", "b", 60, is_held=False)
    assert hold("sub-2", "b", 60, is_held=False)
    assert hold("sub-1", "a", 30, is_held=True)
    assert 0 < redis_client.pttl("rmbg:submitting:sub-1") <= 30_000
    hold("sub-1", "a", 0.001, is_held=True)
    until(lambda: hold("sub-1", "b", 60, is_held=False))
