"""Two gateways over one store: one is killed under load, and no job is lost or doubled."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.proxy import Proxy
from support.until import until

pytestmark = pytest.mark.integration
COMMAND = str(Path(sys.executable).with_name("rmbg-gateway"))
CALLERS = 8
KEYS = 25
"""Requests of each caller, each with an `Idempotency-Key` of its own."""
RETRYABLE = (429, 502, 503, 504)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gateway_process(env):
    """Run a gateway; yield its port and process."""
    port = free_port()
    own = {"PATH": os.defpath, "RMBG_GATEWAY_PORT": str(port), "RMBG_GATEWAY_PROBES_PORT": "0"}
    with subprocess.Popen([COMMAND], env={**env, **own}, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port))
            yield port, process
        finally:
            process.kill()


def answers(port):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/openapi.json").status_code == 200
    return False


@pytest.fixture
def balanced(service_env):
    """Two gateways, each behind a proxy; a caller goes to the other one after an error."""
    with (
        gateway_process(service_env) as (first, victim),
        gateway_process(service_env) as (second, _),
        Proxy(first) as to_first,
        Proxy(second) as to_second,
    ):
        yield (to_first, to_second), victim


class Caller:
    """Sends requests to one of two gateways until each has been answered."""

    def __init__(self, proxies, key, sent):
        self.proxies = proxies
        self.headers = {"Authorization": f"Bearer {key}"}
        self.sent = sent
        self.errors = []

    def __call__(self, number):
        """Create a job for each key; return the ID that the answer gives for it."""
        return {f"{number}-{n}": self.create(f"{number}-{n}") for n in range(KEYS)}

    def create(self, name):
        headers = {**self.headers, "Idempotency-Key": name}
        for attempt in range(100):
            proxy = self.proxies[(hash(name) + attempt) % 2]
            self.sent.release()
            try:
                url = f"http://127.0.0.1:{proxy.port}/v1/jobs"
                body = {"keys": [f"{name}.jpg"]}
                answer = httpx.post(url, json=body, headers=headers, timeout=30)
            except httpx.TransportError as err:
                self.errors.append(type(err).__name__)
                continue
            if answer.status_code == 201:
                return answer.json()["job_id"]
            assert answer.status_code in RETRYABLE, answer.text
            self.errors.append(answer.status_code)
        pytest.fail(f"{name} was never accepted: {self.errors[-5:]}")


def test_a_gateway_killed_under_load_loses_and_doubles_no_job(balanced, new_key, gateway):
    proxies, victim = balanced
    proxies[0].delay_s = 0.3  # so that there are jobs whose callers have no answer yet
    sent = threading.Semaphore(0)
    caller = Caller(proxies, new_key(rate_per_minute=60_000), sent)
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(caller, number) for number in range(CALLERS)]
        for _ in range(CALLERS * KEYS // 4):
            assert sent.acquire(timeout=60)
        until(lambda: proxies[0].connections)
        victim.kill()
        proxies[0].reset()
        accepted = {name: job for each in calls for name, job in each.result(120).items()}

    assert caller.errors, "the killed gateway had no load"
    jobs = [each.job_id for each in gateway.services.jobs.queries.jobs()]
    assert len(accepted) == len(set(accepted.values())) == CALLERS * KEYS
    assert sorted(jobs) == sorted(accepted.values())
