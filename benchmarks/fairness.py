"""How tenants share a fleet: a small job beside a large one, and weights.

Jobs come over HTTP. A worker has a stand-in device (137.9 images/s at most) and images in memory.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.fleet import Workers
from benchmarks.gateway_system import gateway_process, new_client
from producer.local.servers import EmbeddedServers
from producer.services import Services
from shared.settings import ServiceSettings

MODEL: Final = "isnet-general-use"
LARGE: Final = 100_000
SMALL: Final = 10
TIMES: Final = 9
WEIGHTS: Final = {"one": 1, "two": 2, "four": 4}
WINDOW_S: Final = 120.0
WARM_S: Final = 20.0
SETTLED: Final = 500
"""Images of a job after which tickets of all jobs are queued."""


@contextmanager
def _system() -> Iterator[tuple[Services, str]]:
    """Run servers, a gateway and a worker; yield the services and the URL."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServers(Path(name) / "s") as servers:
        env = {"PATH": os.defpath, **servers.settings(), "RMBG_MODELS": MODEL}
        services = Services(ServiceSettings.from_env(env))
        with gateway_process(env) as (url, _), Workers(1, env, Path(name)) as workers:
            workers.wait_ready(services.jobs)
            yield services, url


def measure_small() -> dict[str, Any]:
    """Return what jobs of ten images take, one after another, alone and beside a large job."""
    with _system() as (services, url):
        large = new_client(services, url, "large")
        small = new_client(services, url, "small")
        _small_s(small, "warm")
        alone_s = _median_s(small, "alone")
        job = _created(large, "large", LARGE)
        _wait_for(large, job, 1)
        time.sleep(WARM_S)
        beside_s = _median_s(small, "beside")
    return {
        "small_alone_s": round(alone_s, 2),
        "small_beside_s": round(beside_s, 2),
        "ratio": round(beside_s / alone_s, 2),
        "load": os.getloadavg()[0],
    }


def measure_weights() -> dict[str, Any]:
    """Return how three tenants with a large job each share a worker, and what one gets alone."""
    with _system() as (services, url):
        clients = {name: new_client(services, url, name, weight=n) for name, n in WEIGHTS.items()}
        alone = _created(clients["one"], "alone", LARGE)
        _wait_for(clients["one"], alone, SETTLED)
        rate = sum(_rates({"one": (clients["one"], alone)}).values())
        clients["one"].post(f"/v1/jobs/{alone}/cancel").raise_for_status()
        jobs = {name: (client, _created(client, name, LARGE)) for name, client in clients.items()}
        for client, each in jobs.values():
            _wait_for(client, each, SETTLED)
        rates = _rates(jobs)
    total = sum(rates.values())
    return {
        "shares": {name: round(each / total, 4) for name, each in rates.items()},
        "of_weight": {name: round(rates[name] / total * 7 / n, 3) for name, n in WEIGHTS.items()},
        "images_per_s_of_one": round(rate, 1),
        "images_per_s_of_three": round(total, 1),
        "throughput": round(total / rate, 3),
        "load": os.getloadavg()[0],
    }


def _created(client: httpx.Client, name: str, images: int) -> str:
    body = {"keys": [f"{name}/{n:06}.jpg" for n in range(images)], "previews": "none"}
    answer = client.post("/v1/jobs", json=body).raise_for_status()
    while answer.json().get("job_id") is None:
        time.sleep(0.1)
        answer = client.get(f"/v1/submissions/{answer.json()['submission_id']}").raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def _status(client: httpx.Client, job: str) -> dict[str, Any]:
    status: dict[str, Any] = client.get(f"/v1/jobs/{job}").raise_for_status().json()
    return status


def _wait_for(client: httpx.Client, job: str, images: int) -> None:
    while _status(client, job)["done"] < images:
        time.sleep(0.02)


def _small_s(client: httpx.Client, name: str) -> float:
    """Return the time from the request to the end of the last image."""
    begin = time.perf_counter()
    _wait_for(client, _created(client, name, SMALL), SMALL)
    return time.perf_counter() - begin


def _median_s(client: httpx.Client, name: str) -> float:
    times = []
    for n in range(TIMES):
        times.append(_small_s(client, f"{name}-{n}"))
        time.sleep(0.5)
    return statistics.median(times)


def _rates(jobs: dict[str, tuple[httpx.Client, str]]) -> dict[str, float]:
    """Return how many images of each job end in a second."""

    def done() -> dict[str, int]:
        return {name: _status(*each)["done"] for name, each in jobs.items()}

    before, begin = done(), time.perf_counter()
    time.sleep(WINDOW_S)
    after, took_s = done(), time.perf_counter() - begin
    return {name: (after[name] - before[name]) / took_s for name in jobs}
