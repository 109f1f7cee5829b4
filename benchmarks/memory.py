"""(f) Memory of a worker over many images, with real codecs and stores and a stand-in network."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, Final

import cv2

from benchmarks.fleet import Workers
from benchmarks.products import jpeg, product
from producer.client import Client
from producer.local.servers import EmbeddedServers
from shared.jobstore.store import JobStore
from shared.objects import ObjectStore, S3Store
from shared.settings import ServiceSettings

MODEL: Final = "isnet-general-use"
SIDES_PX: Final = (96, 160, 224, 256, 320, 448, 512, 640)
DISTINCT: Final = 24
"""Number of different images, each stored under many keys; every third is a PNG."""
UPLOADS: Final = 8
POLL_S: Final = 0.2
SETTLED: Final = 0.2
"""Share of the images after which memory should no longer grow."""
PARTS: Final = 10


def measure(folder: Path, *, items: int) -> dict[str, Any]:
    """Return the resident memory of one worker after each tenth of a job of *items* images."""
    with EmbeddedServers(folder / "servers") as servers:
        env = {"PATH": os.defpath, **servers.settings(), "RMBG_MODELS": MODEL}
        settings = ServiceSettings.from_env(env)
        keys = _upload(S3Store(settings.objects), settings.input_buckets[0], items)
        with Workers(1, env, folder, codecs=True) as workers:
            workers.wait_ready(JobStore.connect(settings.store_url))
            series, seconds = _watch(Client(settings), keys, workers)
    return _summary(series, items) | {"seconds": round(seconds, 1)}


def _watch(
    client: Client, keys: list[str], workers: Workers
) -> tuple[list[tuple[int, int]], float]:
    """Run the job; return pairs of images done and resident bytes, and the seconds it took."""
    (worker,) = workers.processes
    series: list[tuple[int, int]] = [(0, worker.memory_info().rss)]
    started_s = time.monotonic()
    job_id = client.submit(keys, rem_mode=MODEL)
    while series[-1][0] < len(keys):
        time.sleep(POLL_S)
        status = client.status(job_id)
        if status.failed:
            raise RuntimeError(f"{status.failed} images failed: {status.error_classes}")
        series.append((status.done, worker.memory_info().rss))
    seconds = time.monotonic() - started_s
    client.wait(job_id, timeout_s=600)
    return series, seconds


def _summary(series: list[tuple[int, int]], items: int) -> dict[str, Any]:
    part = items / PARTS
    by_part: dict[int, list[int]] = {}
    for done, rss_bytes in series:
        by_part.setdefault(round(-(-done // part) * part), []).append(rss_bytes)
    early = max(rss for done, rss in series if done <= SETTLED * items)
    late = [rss for done, rss in series if done >= SETTLED * items]
    first, second = (mean(half) for half in (late[: len(late) // 2 + 1], late[len(late) // 2 :]))
    return {
        "items": items,
        "rss_mib": {done: round(max(found) / 2**20, 1) for done, found in by_part.items()},
        "peak_mib": round(max(rss for _, rss in series) / 2**20, 1),
        "peak_growth_after_settling": round(max(late) / early - 1, 4),
        # The means of two halves differ by half of a steady growth.
        "mean_growth_after_settling": round(2 * (second / first - 1), 4),
    }


def _upload(store: ObjectStore, bucket: str, items: int) -> list[str]:
    files = [_file(number) for number in range(DISTINCT)]
    keys = [f"{n // 1000}/{n:05}{files[n % DISTINCT][0]}" for n in range(items)]

    def put(n: int) -> None:
        suffix, data = files[n % DISTINCT]
        store.put(bucket, keys[n], data, content_type=f"image/{suffix[1:]}")

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(put, range(items)))
    return keys


def _file(number: int) -> tuple[str, bytes]:
    image = product(number, SIDES_PX[number % len(SIDES_PX)])
    if number % 3:
        return ".jpg", jpeg(image)
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise RuntimeError("OpenCV cannot write a PNG")
    return ".png", data.tobytes()
