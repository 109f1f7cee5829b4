"""What a worker process shows of itself: each probe red for its cause and green again."""

import http.client
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.asking import ANY_PORT, address_of, ask, probed, samples, value_of
from support.command import environment
from support.redis_server import RedisServer
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.job.spec import JobState
from shared.objects import S3Store

pytestmark = pytest.mark.integration

COMMAND = Path(sys.executable).with_name("rmbg-worker")
OK = (200, "ok")


@pytest.fixture
def start(service_env):
    """Start workers that serve HTTP; they end with the test."""
    running = []

    def start(*, env=(), **order):
        env = service_env | {"RMBG_HTTP": ANY_PORT} | dict(env)
        running.append(WorkerProcess(env, quick=True, **order))
        return running[-1]

    yield start
    for worker in running:
        worker.close()


@pytest.fixture
def submit(service_settings, bucket):
    """Submit a job over small sources, the last of which is bad if so wished."""
    store = S3Store(service_settings.objects)

    def submit(count, *, bad=0, client=None):
        keys = [f"in/{n:04}" for n in range(count)]
        for n, key in enumerate(keys):
            body = b"bad" if n >= count - bad else b"%d" % n
            store.put(bucket, key, body, content_type="image/jpeg")
        return (client or Client(service_settings)).submit(keys, rem_mode=MODEL)

    return submit


@pytest.fixture
def hold(tmp_path):
    """A file that holds something up until it is removed."""
    file = tmp_path / "hold"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def probe(worker):
    """Run the images' health check against the worker; return its exit code and what it said."""
    host, port = address_of(worker)
    return run_probe(RMBG_HTTP=f"{host}:{port}")


def run_probe(**variables):
    done = subprocess.run(
        [COMMAND, "--probe"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(variables),
    )
    return done.returncode, (done.stdout + done.stderr).strip()


# --- ready


def test_a_worker_is_not_ready_before_its_models_are_loaded(start, hold):
    worker = start(hold_load=str(hold))

    until(lambda: probed(worker, "/readyz") == (503, "models are being loaded"), within_s=60)
    assert probe(worker) == (1, "models are being loaded")
    assert probed(worker, "/livez") == OK
    hold.unlink()

    until(lambda: probed(worker, "/readyz") == OK, within_s=60)
    assert probe(worker) == (0, "ok")


def test_a_worker_that_drains_is_alive_and_not_ready(start, hold, submit):
    worker = start(hold_device=str(hold)).wait_ready()
    submit(3)
    until(lambda: value_of(worker, "rmbg_images_inside") == 3)
    assert probed(worker, "/readyz") == OK

    worker.terminate()

    until(lambda: probed(worker, "/readyz") == (503, "draining"))
    assert probed(worker, "/livez") == OK
    hold.unlink()
    assert worker.wait() == 0


def test_a_worker_that_is_away_from_redis_is_alive_and_not_ready(start, service_env):
    with own_redis(service_env) as (server, env):
        worker = start(env=env).wait_ready()
        until(lambda: value_of(worker, "rmbg_job_store_up") == 1)

        server.kill()
        until(lambda: probed(worker, "/readyz") == (503, "not connected to the queue"), within_s=30)
        assert probed(worker, "/livez") == OK
        until(lambda: value_of(worker, "rmbg_job_store_up") == 0, within_s=30)
        assert "rmbg_open_jobs" not in {sample.name for sample in samples(worker)}
        server.start()

        until(lambda: probed(worker, "/readyz") == OK, within_s=60)
        until(lambda: value_of(worker, "rmbg_job_store_up") == 1, within_s=30)
        worker.close()


@contextmanager
def own_redis(service_env):
    """Give a Redis that the test may kill, and an environment that names it."""
    with RedisServer(append_only=True) as server:
        yield server, dict(service_env) | {"RMBG_REDIS_URL": server.url.removesuffix("1") + "0"}


# --- alive


def test_a_worker_whose_engine_hangs_is_not_alive_until_it_moves(start, hold, submit):
    """The lease is long, so that the watchdog does not end the process meanwhile."""
    worker = start(
        hold_device=str(hold), env={"RMBG_STALL_S": "1", "RMBG_LEASE_S": "60"}
    ).wait_ready()
    assert probed(worker, "/livez") == OK
    submit(3)

    until(lambda: probed(worker, "/livez") == (503, "nothing has moved for 1 s"), within_s=30)
    assert value_of(worker, "rmbg_alive") == 0
    assert value_of(worker, "rmbg_stalled_seconds") > 1
    hold.unlink()

    until(lambda: probed(worker, "/livez") == OK)
    assert value_of(worker, "rmbg_alive") == 1


# --- the health check


def test_the_health_check_of_nobody_fails():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, said = run_probe(RMBG_HTTP=f"127.0.0.1:{port}")

    assert code == 1
    assert f"127.0.0.1:{port}" in said


@pytest.mark.parametrize("address", ["", "9464", "http://127.0.0.1:9464"])
def test_the_health_check_wants_an_address(address):
    code, said = run_probe(RMBG_HTTP=address)

    assert code == 2
    assert "RMBG_HTTP" in said


def test_a_worker_told_to_listen_everywhere_is_asked_on_loopback(start):
    worker = start(env={"RMBG_HTTP": "0.0.0.0:0"}).wait_ready()

    assert probe(worker) == (0, "ok")


def test_a_port_that_is_taken_ends_the_worker_with_what_to_change(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        worker = start(env={"RMBG_HTTP": f"127.0.0.1:{port}"})
        assert worker.wait(within_s=60) != 0

    assert any(f"RMBG_HTTP=127.0.0.1:{port} cannot be served" in line for line in worker.log)


# --- metrics and other requests


def test_a_job_shows_in_the_metrics(start, submit, service_settings):
    worker = start(batch_s=0.02).wait_ready()
    client = Client(service_settings)
    job_id = submit(20, bad=2)
    assert client.wait(job_id, 60).state is JobState.DONE

    def images(**labels):
        return value_of(worker, "rmbg_images_total", **labels)

    assert images(result="done") == 18
    assert images(result="failed", error="UndecodableImage") == images(result="failed") == 2
    assert images(result="given_back") == 0
    for stage, count in {"download": 20, "decode": 20, "draw": 18, "upload": 18}.items():
        until(lambda: value_of(worker, "rmbg_stage_seconds_count", stage=stage) == count)  # noqa: B023 - called at once
    assert value_of(worker, "rmbg_batch_images_sum") == 18
    batches = value_of(worker, "rmbg_batch_images_count")
    assert value_of(worker, "rmbg_batch_wait_seconds_count") == batches
    assert value_of(worker, "rmbg_stage_seconds_count", stage="forward") == batches
    assert value_of(worker, "rmbg_device_busy_seconds_total") >= 0.02 * batches
    assert value_of(worker, "rmbg_image_seconds_count") == 20
    assert value_of(worker, "rmbg_images_inside") == value_of(worker, "rmbg_decoded_pixels") == 0
    until(lambda: value_of(worker, "rmbg_open_jobs") == 0)
    assert value_of(worker, "rmbg_fleet_workers") == 1


def test_what_waits_shows_in_the_gauges_of_the_whole_fleet(start, hold, submit):
    worker = start(hold_device=str(hold)).wait_ready()
    submit(6)

    until(lambda: value_of(worker, "rmbg_images_inside") == 6)
    until(lambda: value_of(worker, "rmbg_decoded_pixels") == 6 * 64)
    assert value_of(worker, "rmbg_leases_held") >= 1
    until(lambda: value_of(worker, "rmbg_open_images") == 6)
    assert value_of(worker, "rmbg_open_jobs") == 1
    assert value_of(worker, "rmbg_oldest_job_seconds") > 0
    assert value_of(worker, "rmbg_tickets", place="leased") >= 1
    assert "rmbg_backlog_seconds" not in {sample.name for sample in samples(worker)}


def test_each_item_and_each_batch_has_one_line_in_the_log(start, submit, service_settings):
    worker = start().wait_ready()
    client = Client(service_settings)
    job_id = submit(8, bad=1)
    client.wait(job_id, 60)

    done, failed = worker.said("item done"), worker.said("item failed")
    assert sorted(line["index"] for line in done) == [*range(7)]
    assert [(line["index"], line["cause"]) for line in failed] == [(7, "UndecodableImage")]
    for line in done + failed:
        assert line["job_id"] == job_id
        assert line["image_key"] == f"in/{line['index']:04}"
        assert (line["level"], line["attempts"]) == ("info", 1)
        assert line["took_s"] > 0
    until(lambda: sum(line["batch_size"] for line in worker.said("batch done")) == 7)
    assert all(line["job_ids"] == [job_id] for line in worker.said("batch done"))


def test_nothing_is_served_unless_asked_for(start):
    worker = start(env={"RMBG_HTTP": ""}).wait_ready()

    assert worker.said("monitor serves") == []


def test_other_pages_and_methods_are_refused(start):
    worker = start().wait_ready()

    assert ask(worker, "/")[0] == 404
    assert ask(worker, "/metrics/../etc/passwd")[0] == 404
    assert ask(worker, "/readyz?verbose")[0] == 200
    connection = http.client.HTTPConnection(*address_of(worker), timeout=15)
    connection.request("POST", "/readyz", body=b"x")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_connection_that_says_nothing_keeps_nobody_waiting(start):
    worker = start().wait_ready()

    with socket.create_connection(address_of(worker)):
        assert probed(worker, "/readyz") == OK


def test_secrets_are_neither_in_the_metrics_nor_in_the_log(start, submit, service_settings):
    worker = start().wait_ready()
    client = Client(service_settings)
    client.wait(submit(3, bad=1), 60)

    shown = "\n".join([ask(worker, "/metrics")[2], *worker.log])
    assert service_settings.objects.secret_access_key not in shown
