"""Health checks, metrics and logs of a worker process: each probe fails for its cause only."""

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
    """Start workers that serve HTTP; they are killed at the end of the test."""
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
    """Submit a job over small images, of which the last *bad* ones cannot be decoded."""
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
    """A file that blocks a worker for as long as it exists."""
    file = tmp_path / "hold"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def probe(worker):
    """Run `rmbg-worker --probe` against the worker; return its exit code and output."""
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


def test_a_draining_worker_is_alive_and_not_ready(start, hold, submit):
    worker = start(hold_device=str(hold)).wait_ready()
    submit(3)
    until(lambda: value_of(worker, "rmbg_images_inside") == 3)
    assert probed(worker, "/readyz") == OK

    worker.terminate()

    until(lambda: probed(worker, "/readyz") == (503, "draining"))
    assert probed(worker, "/livez") == OK
    hold.unlink()
    assert worker.wait() == 0


def test_a_worker_without_redis_is_alive_and_not_ready(start, service_env):
    with own_redis(service_env) as (server, env):
        worker = start(env=env).wait_ready()
        until(lambda: value_of(worker, "rmbg_job_store_up") == 1)

        server.kill()
        until(lambda: probed(worker, "/readyz") == (503, "not connected to the queue"), within_s=60)
        assert probed(worker, "/livez") == OK
        until(lambda: value_of(worker, "rmbg_job_store_up") == 0, within_s=60)
        assert "rmbg_open_jobs" not in {sample.name for sample in samples(worker)}
        server.start()

        until(lambda: probed(worker, "/readyz") == OK, within_s=60)
        until(lambda: value_of(worker, "rmbg_job_store_up") == 1, within_s=60)
        worker.close()


@contextmanager
def own_redis(service_env):
    """Yield a Redis server that the test may kill, and an environment that points to it."""
    with RedisServer(append_only=True) as server:
        yield server, dict(service_env) | {"RMBG_REDIS_URL": server.url.removesuffix("1") + "0"}


# --- alive


def test_a_worker_whose_engine_hangs_is_not_alive_until_it_resumes(start, hold, submit):
    """The lease is long, so that the watchdog does not end the process."""
    worker = start(
        hold_device=str(hold), env={"RMBG_STALL_S": "1", "RMBG_LEASE_S": "60"}
    ).wait_ready()
    assert probed(worker, "/livez") == OK
    submit(3)

    until(lambda: probed(worker, "/livez") == (503, "no item has moved for 1 s"), within_s=60)
    assert value_of(worker, "rmbg_alive") == 0
    assert value_of(worker, "rmbg_stalled_seconds") > 1
    hold.unlink()

    until(lambda: probed(worker, "/livez") == OK)
    assert value_of(worker, "rmbg_alive") == 1


# --- --probe


def test_the_probe_fails_if_no_worker_answers():
    with socket.socket() as bound:  # not listening, so that connections are refused
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        code, said = run_probe(RMBG_HTTP=f"127.0.0.1:{port}")

    assert code == 1
    assert f"127.0.0.1:{port}" in said


@pytest.mark.parametrize("address", ["", "9464", "http://127.0.0.1:9464"])
def test_the_probe_needs_an_address(address):
    code, said = run_probe(RMBG_HTTP=address)

    assert code == 2
    assert "RMBG_HTTP" in said


def test_the_probe_asks_a_worker_that_listens_on_all_interfaces_on_loopback(start):
    worker = start(env={"RMBG_HTTP": "0.0.0.0:0"}).wait_ready()

    assert probe(worker) == (0, "ok")


def test_a_port_in_use_ends_the_worker_and_names_the_variable(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        worker = start(env={"RMBG_HTTP": f"127.0.0.1:{port}"})
        assert worker.wait(within_s=60) != 0

    assert any(f"RMBG_HTTP=127.0.0.1:{port} cannot be bound" in line for line in worker.log)


# --- metrics, logs and other requests


def test_the_metrics_count_a_job(start, submit, service_settings):
    worker = start(batch_s=0.02).wait_ready()
    client = Client(service_settings)
    job_id = submit(20, bad=2)
    assert client.wait(job_id, 120).state is JobState.DONE

    def images(**labels):
        return value_of(worker, "rmbg_images_total", **labels)

    until(lambda: images(result="done") == 18)
    until(lambda: images(result="failed") == 2)
    assert images(result="failed", error="UndecodableImage") == images(result="failed") == 2
    assert images(result="given_back") == 0
    for stage, count in {"download": 20, "decode": 20, "render": 18, "upload": 18}.items():
        until(lambda: value_of(worker, "rmbg_stage_seconds_count", stage=stage) == count)  # noqa: B023 - called at once
    until(lambda: value_of(worker, "rmbg_batch_images_sum") == 18)
    batches = value_of(worker, "rmbg_batch_images_count")
    assert value_of(worker, "rmbg_batch_wait_seconds_count") == batches
    until(lambda: value_of(worker, "rmbg_stage_seconds_count", stage="forward") == batches)
    until(lambda: value_of(worker, "rmbg_device_busy_seconds_total") >= 0.02 * batches)
    until(lambda: value_of(worker, "rmbg_image_seconds_count") == 20)
    until(lambda: value_of(worker, "rmbg_images_inside") == 0)
    until(lambda: value_of(worker, "rmbg_decoded_pixels") == 0)
    until(lambda: value_of(worker, "rmbg_encoded_bytes") == 0)
    assert value_of(worker, "rmbg_encoded_bytes_limit") == 2**29
    until(lambda: value_of(worker, "rmbg_open_jobs") == 0)
    assert value_of(worker, "rmbg_fleet_workers") == 1


def test_the_fleet_gauges_count_waiting_images(start, hold, submit):
    worker = start(hold_device=str(hold)).wait_ready()
    submit(6)

    until(lambda: value_of(worker, "rmbg_images_inside") == 6)
    until(lambda: value_of(worker, "rmbg_decoded_pixels") == 6 * 64)
    assert value_of(worker, "rmbg_leases_held") >= 1
    until(lambda: value_of(worker, "rmbg_open_images") == 6)
    until(lambda: value_of(worker, "rmbg_tickets", place="leased") >= 1)
    assert value_of(worker, "rmbg_open_jobs") == 1
    assert value_of(worker, "rmbg_oldest_job_seconds") > 0
    assert "rmbg_backlog_seconds" not in {sample.name for sample in samples(worker)}


def test_each_item_and_each_batch_has_one_log_line(start, submit, service_settings):
    worker = start().wait_ready()
    client = Client(service_settings)
    job_id = submit(8, bad=1)
    client.wait(job_id, 120)

    until(lambda: len(worker.said("item done") + worker.said("item failed")) == 8)
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


def test_no_port_is_opened_by_default(start):
    worker = start(env={"RMBG_HTTP": ""}).wait_ready()

    assert worker.said("serving metrics") == []


def test_other_paths_and_methods_are_refused(start):
    worker = start().wait_ready()

    assert ask(worker, "/")[0] == 404
    assert ask(worker, "/metrics/../etc/passwd")[0] == 404
    assert ask(worker, "/readyz?verbose")[0] == 200
    connection = http.client.HTTPConnection(*address_of(worker), timeout=15)
    connection.request("POST", "/readyz", body=b"x")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_silent_connection_does_not_block_others(start):
    worker = start().wait_ready()

    with socket.create_connection(address_of(worker)):
        assert probed(worker, "/readyz") == OK


def test_metrics_and_log_contain_no_secrets(start, submit, service_settings):
    worker = start().wait_ready()
    client = Client(service_settings)
    client.wait(submit(3, bad=1), 120)

    shown = "\n".join([ask(worker, "/metrics")[2], *worker.log])
    assert service_settings.objects.secret_access_key not in shown
