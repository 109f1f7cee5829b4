"""What callers of `POST /v1/images/remove` wait for, when as many call as may at once.

A gateway, a worker with a stand-in device and constant images, and real servers. The image is
uploaded, and the output is written, read and sent.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.fleet import Workers
from benchmarks.gateway_system import cpu_s, gateway_process, new_client, percentile
from benchmarks.stand_ins import BATCH_S, BATCH_SIZE, IMAGE_S
from producer.local.servers import EmbeddedServers
from producer.services import Services
from shared.settings import ServiceSettings

CALLERS: Final = 100
ROUNDS: Final = 5
MODEL: Final = "isnet-general-use"
PATH: Final = "/v1/images/remove"


def measure(image_s: float = IMAGE_S, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return the figures: first all callers wait for a worker, then they call again and again."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServers(Path(name) / "s") as servers:
        folder, env = Path(name), {"PATH": os.defpath, **servers.settings()}
        env |= {"RMBG_MODELS": MODEL}
        services = Services(ServiceSettings.from_env(env))
        redis = services.jobs.connection.client
        with (
            gateway_process(env, max_waiting=CALLERS) as (url, _),
            new_client(services, url, "bench") as client,
        ):
            calls = _Calls(url, dict(client.headers))
            with ThreadPoolExecutor(CALLERS) as pool:
                first = [pool.submit(calls.one) for _ in range(CALLERS)]
                while len(redis.keys("rmbg:job:light-*:manifest")) < CALLERS:
                    time.sleep(0.05)
                refused = client.post(PATH, content=b"image")
                with Workers(1, env, folder, stored=True, image_s=image_s) as workers:
                    workers.wait_ready(services.jobs)
                    for each in first:
                        each.result()
                    waited, calls.times_s = calls.times_s, []
                    before, begin = cpu_s(), time.perf_counter()
                    for each in [pool.submit(calls.many, rounds) for _ in range(CALLERS)]:
                        each.result()
                    took_s, after = time.perf_counter() - begin, cpu_s()
    device = BATCH_SIZE / (BATCH_S + BATCH_SIZE * image_s)
    times_ms = [1000 * each for each in calls.times_s]
    return {
        "callers": CALLERS,
        "requests": len(waited) + len(times_ms),
        "answers": {str(status): count for status, count in calls.statuses.items()},
        "jobs": len(calls.jobs),
        "one_more": [refused.status_code, refused.headers.get("retry-after")],
        "p50_ms": round(percentile(times_ms, 0.5)),
        "p99_ms": round(percentile(times_ms, 0.99)),
        "device_images_per_s": round(device, 1),
        "allowed_p99_ms": round((CALLERS / device + 0.5) * 1000),
        "images_per_s": round(len(times_ms) / took_s, 1),
        "cpu_ms_an_image": {
            name: round(1000 * (after[name] - before.get(name, 0)) / len(times_ms), 2)
            for name in after
        },
        "load": os.getloadavg()[0],
    }


class _Calls:
    """Calls and what they gave."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, {"Authorization": headers["authorization"]}
        self._local = threading.local()
        self.times_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.jobs: set[str] = set()

    def one(self) -> None:
        """Send one image and wait for the picture."""
        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(base_url=self._url, timeout=120)
        begin = time.perf_counter()
        answer = self._local.client.post(PATH, content=b"image", headers=self._headers)
        self.times_s.append(time.perf_counter() - begin)
        self.statuses[answer.status_code] += 1
        self.jobs.add(answer.headers.get("x-rmbg-job", ""))

    def many(self, count: int) -> None:
        """Send *count* images one after the other."""
        for _ in range(count):
            self.one()
