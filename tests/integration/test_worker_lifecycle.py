"""Worker shutdown, crashes and outages, with real processes, real servers and stand-in models."""

import signal
from contextlib import contextmanager

import pytest
import redis
from support.redis_server import RedisServer
from support.servers import raw_s3
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.broker.app import depths, make_app
from shared.broker.queues import INTERACTIVE
from shared.job.spec import JobState
from shared.objects import S3Store
from shared.settings import ServiceSettings
from worker.lifecycle import UNFIT_EXIT

pytestmark = pytest.mark.integration

SLOW = {"quick": True, "batch_size": 1, "image_s": 0.03}
"""About 30 images per second, so that a job of hundreds of images runs for several seconds."""


@pytest.fixture
def start(service_env):
    """Start workers that are killed at the end of the test."""
    running = []

    def start(*, env=(), **order):
        running.append(WorkerProcess(service_env | dict(env), **(order or SLOW)))
        return running[-1]

    yield start
    for worker in running:
        worker.close()


@pytest.fixture
def client(service_settings):
    return Client(service_settings)


@pytest.fixture
def upload(service_settings, bucket):
    """Upload *count* small source images; return their keys."""
    store = S3Store(service_settings.objects)

    def put(count, body=b"x"):
        keys = [f"in/{n:04}" for n in range(count)]
        for n, key in enumerate(keys):
            store.put(bucket, key, body + b"%d" % n, content_type="image/jpeg")
        return keys

    return put


def submit(client, keys, **options):
    return client.submit(keys, rem_mode=MODEL, **options)


def wait_for(client, job_id, count):
    """Wait until *count* items of the job have ended."""
    until(lambda: client.status(job_id).done >= count, within_s=60)


def assert_all_done_once(client, job_id, keys):
    status = client.wait(job_id, 120)
    assert (status.state, status.done, status.failed) == (JobState.DONE, len(keys), 0)
    assert [record.image_key for record in client.results(job_id)] == keys


# --- shutdown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_under_load_releases_tickets_and_another_worker_finishes_the_job(
    start, client, upload, service_env, number
):
    """Exit code 0 means that the worker drained within RMBG_DRAIN_S."""
    keys = upload(150)
    job_id = submit(client, keys)
    first = start().wait_ready()
    wait_for(client, job_id, 5)

    first.process.send_signal(number)

    assert first.wait() == 0
    with redis.Redis.from_url(service_env["RMBG_REDIS_URL"].replace("/0", "/1")) as truth:
        assert truth.zcard("rmbg:leased") == 0
    assert client.status(job_id).done < len(keys)
    assert not first.said("lease lost")
    start().wait_ready()
    assert_all_done_once(client, job_id, keys)


def test_another_worker_finishes_the_job_of_a_killed_worker(start, client, upload):
    """Its tickets are issued again when their leases expire."""
    keys = upload(60)
    first = start().wait_ready()
    second = start().wait_ready()
    job_id = submit(client, keys)
    wait_for(client, job_id, 5)

    first.kill()

    assert_all_done_once(client, job_id, keys)
    assert second.process.poll() is None


def test_a_lost_device_ends_the_process_and_fails_no_item(start, client, upload):
    keys = upload(80)
    job_id = submit(client, keys)
    first = start(**SLOW, lose_device_after=10).wait_ready()

    assert first.wait() == 70

    assert client.status(job_id).failed == 0
    [said] = first.said("worker unfit")
    assert said["level"] == "critical"
    start().wait_ready()
    assert_all_done_once(client, job_id, keys)
    assert all(record.attempts == 1 for record in client.results(job_id))


def test_an_error_that_celery_cannot_recover_from_ends_the_process_as_unfit(start, client, upload):
    """Celery's own exit code would be 1, and its supervisor could take that for a wrong setting."""
    keys = upload(300)
    first = start().wait_ready()
    job_id = submit(client, keys)
    wait_for(client, job_id, 30)

    first.break_event_loop()

    assert first.wait() == UNFIT_EXIT
    assert any("an error that Celery does not expect" in line for line in first.log)
    start().wait_ready()
    assert_all_done_once(client, job_id, keys)


def test_a_worker_whose_device_is_broken_stays_and_is_named_until_it_is_stopped(
    start, client, upload
):
    """A new process would fail, too. No item fails, and no death is counted."""
    job_id = submit(client, upload(20))
    worker = start(**SLOW, lose_device_after=5, device_works=False).wait_ready()
    reason = f"no worker serves {MODEL}: device: made up"

    until(lambda: client.status(job_id).waiting_for == reason, within_s=60)

    status = client.status(job_id)
    assert (status.done, status.failed) == (5, 0)
    assert worker.process.poll() is None
    worker.terminate()
    assert worker.wait(within_s=10) == 0
    assert client.status(job_id).waiting_for == "no worker"
    start().wait_ready()
    assert client.wait(job_id, 120).done == 20


# --- Redis outages


@contextmanager
def own_redis(service_env):
    """Yield a Redis server that the test may kill, and an environment that points to it."""
    with RedisServer(append_only=True) as server:
        url = server.url.removesuffix("1") + "0"
        yield server, dict(service_env) | {"RMBG_REDIS_URL": url}


def test_a_worker_that_starts_before_redis_waits_for_it(start, upload, service_env):
    keys = upload(4)
    with own_redis(service_env) as (server, env):
        server.kill()
        worker = start(env=env)
        until(lambda: any("Cannot connect" in line for line in worker.log), within_s=60)
        assert worker.process.poll() is None

        server.start()
        worker.wait_ready()
        client = Client(ServiceSettings.from_env(env))

        assert_all_done_once(client, submit(client, keys), keys)
        worker.close()


def test_sigterm_ends_a_worker_during_a_redis_outage(start, upload, service_env):
    keys = upload(100)
    with own_redis(service_env) as (server, env):
        worker = start(env=env | {"RMBG_DRAIN_S": "5"}).wait_ready()
        client = Client(ServiceSettings.from_env(env))
        job_id = submit(client, keys)
        wait_for(client, job_id, 5)

        server.kill()
        until(lambda: worker.said("marks wait for Redis") or worker.said("ticket waits for Redis"))
        worker.terminate()

        worker.wait(within_s=60)


def test_a_redis_outage_fails_no_item_and_counts_no_death(start, upload, service_env):
    keys = upload(100)
    with own_redis(service_env) as (server, env):
        worker = start(env=env).wait_ready()
        client = Client(ServiceSettings.from_env(env))
        job_id = submit(client, keys)
        wait_for(client, job_id, 5)

        server.kill()
        until(lambda: worker.said("marks wait for Redis") or worker.said("ticket waits for Redis"))
        server.start()

        assert_all_done_once(client, job_id, keys)
        assert worker.process.poll() is None
        worker.close()


# --- buckets


def test_a_job_waits_for_a_missing_bucket_and_resumes_when_it_exists(
    start, client, upload, service_env, service_settings
):
    keys = upload(6)
    missing = "late" + service_env["RMBG_OUTPUT_BUCKET"][4:]
    late = Client(ServiceSettings.from_env(dict(service_env) | {"RMBG_OUTPUT_BUCKET": missing}))
    buckets = raw_s3(service_settings)
    buckets.create_bucket(Bucket=missing)
    job_id = submit(late, keys)
    buckets.delete_bucket(Bucket=missing)

    start(quick=True, env={"RMBG_OUTPUT_BUCKET": missing}).wait_ready()
    # Until the worker is registered, the job waits for a worker instead.
    until(lambda: (client.status(job_id).waiting_for or "").startswith("bucket: "), within_s=60)
    status = client.status(job_id)
    assert missing in status.waiting_for
    assert (status.done, status.failed) == (0, 0)
    buckets.create_bucket(Bucket=missing)

    assert_all_done_once(late, job_id, keys)


# --- cancellation, priorities, models


def test_a_cancelled_job_keeps_the_images_in_flight_and_starts_no_others(
    start, client, upload, service_settings, bucket
):
    keys = upload(150)
    job_id = submit(client, keys, save_prefix="out")
    start().wait_ready()
    wait_for(client, job_id, 5)

    client.cancel(job_id)
    status = client.wait(job_id, 60)

    assert status.state is JobState.CANCELLED
    assert 5 <= status.done < len(keys)
    records = {record.cutout_key for record in client.results(job_id)}
    written = {info.key for info in S3Store(service_settings.objects).list(bucket, "out/cutout/")}
    assert len(records) == status.done
    assert written == records


def test_an_interactive_job_overtakes_bulk_jobs(start, client, upload):
    keys = upload(301)
    bulk = submit(client, keys[:300])
    start().wait_ready()
    wait_for(client, bulk, 5)

    record = client.remove(keys[-1], rem_mode=MODEL, timeout_s=60)

    assert record.state == "done"
    assert client.status(bulk).state is JobState.RUNNING
    assert_all_done_once(client, bulk, keys[:300])


def test_interactive_tickets_have_slots_of_their_own(
    start, client, upload, service_settings, tmp_path
):
    """They are claimed although no bulk ticket moves, and no bulk ticket takes their slots."""
    held = tmp_path / "held"
    held.touch()
    keys = upload(64)
    submit(client, keys)
    start(quick=True, hold_device=str(held), env={"RMBG_CONCURRENCY": "1"}).wait_ready()
    jobs = redis.Redis.from_url(service_settings.store_url)

    def leased():
        return [each.partition(b"|")[0].decode() for each in jobs.zrange("rmbg:leased", 0, -1)]

    until(leased)
    [bulk] = leased()

    urgent = [submit(client, [key], priority="interactive") for key in keys[:3]]
    until(lambda: len(leased()) == 1 + len(urgent))

    assert sorted(leased()) == sorted([bulk, *urgent])
    held.unlink()
    for job_id, key in zip(urgent, keys, strict=False):
        assert_all_done_once(client, job_id, [key])


def test_a_job_waits_for_a_worker_that_serves_its_model(start, client, upload):
    keys = upload(3)
    start(quick=True, refuse=["RMBG-1.4"]).wait_ready()

    job_id = client.submit(keys, rem_mode="RMBG-1.4")
    until(
        lambda: (client.status(job_id).waiting_for or "").startswith("no worker serves"),
        within_s=60,
    )
    assert client.status(job_id).failed == 0
    start(quick=True).wait_ready()

    assert_all_done_once(client, job_id, keys)


def test_all_queues_are_empty_after_a_job(start, client, upload, service_settings):
    keys = upload(50)
    start(quick=True).wait_ready()
    assert_all_done_once(client, submit(client, keys), keys)

    app = make_app(service_settings.broker_url)
    until(lambda: set(depths(app).values()) == {0})
    assert INTERACTIVE in depths(app)
    app.close()
