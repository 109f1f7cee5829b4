"""The process `rmbg-gateway`: its start, its probes, its log and its end."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from support.until import until

pytestmark = pytest.mark.integration
COMMAND = str(Path(sys.executable).with_name("rmbg-gateway"))

STREAMS, CALLS = 300, 600
MOST_CONNECTIONS = 20
"""Connections to Redis that a gateway may have: job store and queues together."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def process(service_env, tmp_path):
    """A running gateway: its address, that of its probes, its log and the process."""
    port, probes = free_port(), free_port()
    env = {
        **service_env,
        "PATH": os.defpath,
        "RMBG_GATEWAY_PORT": str(port),
        "RMBG_GATEWAY_PROBES_PORT": str(probes),
    }
    log = tmp_path / "log"
    with log.open("wb") as stderr, subprocess.Popen([COMMAND], env=env, stderr=stderr) as running:
        here = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{here}/openapi.json"))
        yield here, f"http://127.0.0.1:{probes}", log, running
        running.kill()


def answers(url):
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_it_serves_probes_and_metrics_beside_the_api_and_leaves_on_sigterm(process, new_key):
    here, probes, log, running = process
    text = new_key()
    headers = {"Authorization": f"Bearer {text}"}
    assert httpx.get(f"{here}/v1/jobs?secret=1", headers=headers).status_code == 200
    assert httpx.get(f"{here}/v1/{'x' * 50}").status_code == 404

    until(lambda: answers(f"{probes}/healthz"))
    assert httpx.get(f"{probes}/readyz").text == "ok\n"
    metrics = httpx.get(f"{probes}/metrics").text
    assert 'rmbg_gateway_requests_total{method="GET",route="/v1/jobs",status="200"} 1.0' in metrics
    assert "xxx" not in metrics
    assert httpx.get(f"{here}/metrics").status_code == 404

    running.send_signal(signal.SIGTERM)
    assert running.wait(30) in (0, -signal.SIGTERM)
    written = log.read_text()
    assert text not in written
    assert "secret" not in written


def test_streams_are_ended_in_order_when_the_process_leaves(process, new_key):
    here, _, _, running = process
    headers = {"Authorization": f"Bearer {new_key()}"}
    with httpx.Client(base_url=here, headers=headers, timeout=60) as client:
        job = client.post("/v1/jobs", json={"keys": ["a.jpg"]}).json()["job_id"]
        with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1.0"
            running.send_signal(signal.SIGTERM)
            assert "event: done" not in list(lines)  # an error if the connection is only cut

    assert running.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"RMBG_GATEWAY_PORT": "x"}, 2, "RMBG_GATEWAY_PORT"),
        ({"RMBG_REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "Redis at 127.0.0.1:1"),
    ],
)
def test_a_start_that_cannot_succeed_is_refused_in_one_line(changes, code, reason, service_env):
    done = subprocess.run(
        [COMMAND],
        check=False,
        env={**service_env, **changes, "PATH": os.defpath},
        capture_output=True,
        text=True,
    )

    assert done.returncode == code, done
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_refused_in_one_line(service_env):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**service_env, "PATH": os.defpath, "RMBG_GATEWAY_PORT": port}
        done = subprocess.run([COMMAND], check=False, env=env, capture_output=True, text=True)

    assert done.returncode == 2
    assert f"RMBG_GATEWAY_PORT: 127.0.0.1:{port} cannot be bound" in done.stderr


def test_neither_streams_nor_calls_open_more_connections_to_redis(
    process, new_key, service_settings
):
    here, _, _, running = process
    headers = {"Authorization": f"Bearer {new_key(rate_per_minute=60_000)}"}
    limits = httpx.Limits(max_connections=None)
    with (
        httpx.Client(base_url=here, headers=headers, limits=limits, timeout=120) as client,
        ThreadPoolExecutor(STREAMS) as threads,
        ExitStack() as streams,
        redis.Redis.from_url(service_settings.store_url) as server,
    ):
        job = client.post("/v1/jobs", json={"keys": ["a.jpg"]}).json()["job_id"]

        def listen(_number):
            stream = streams.enter_context(client.stream("GET", f"/v1/jobs/{job}/events"))
            return next(stream.iter_lines())

        def call(number):
            if number % 6:
                return client.get(f"/v1/jobs/{job}").status_code
            return client.post("/v1/jobs", json={"keys": [f"{number}.jpg"]}).status_code

        assert list(threads.map(listen, range(STREAMS))) == ["id: 1.0"] * STREAMS
        assert set(threads.map(call, range(CALLS))) == {200, 201}
        opened = connections_of(running, server)

    assert len(opened) <= MOST_CONNECTIONS, Counter(each["name"] for each in opened)


def connections_of(process, server):
    """Return the clients of a Redis server that belong to *process*."""
    own = [each.laddr for each in psutil.Process(process.pid).net_connections()]
    addresses = {f"{host}:{port}" for host, port in own}
    return [each for each in server.client_list() if each["addr"] in addresses]
