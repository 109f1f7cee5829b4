"""(d) The system without inference: how it scales, and the cost of an image in Redis and Python.

Workers have stand-ins for the device (20 ms per batch, 6 ms per image, 16 images per batch) and for
the images; broker, job store, job documents and everything between them are real.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import redis

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.fleet import Traffic, Workers  # noqa: E402 - needs the path set above
from benchmarks.stand_ins import IMAGES_PER_S  # noqa: E402
from producer.local.servers import EmbeddedServers  # noqa: E402
from shared.job.spec import TERMINAL_STATES  # noqa: E402
from shared.jobstore.store import JobStore  # noqa: E402
from shared.settings import ServiceSettings  # noqa: E402

MODEL: Final = "isnet-general-use"
POLL_S: Final = 0.1
SETTLE_S: Final = 1.5
"""Time after a job until the last figures of the devices are written and the workers are idle."""
WARM_UP: Final = 1_000
"""Images per worker in a first, unreported job: tickets are small until the rate is known."""
FULL: Final = ((1, 10_000), (2, 10_000), (4, 10_000), (8, 10_000), (8, 100_000), (1, 100_000),
               (4, 100_000), (2, 100_000), (8, 1_000_000))  # fmt: skip
"""Runs as (workers, images), the most informative first, in case the benchmark is interrupted."""
QUICK: Final = ((1, 300), (2, 600))


@dataclass(frozen=True)
class Run:
    """The figures of one job."""

    workers: int
    items: int
    images_per_s: float
    """Images per second between the creation of the job and the end of its last item."""
    of_devices: float
    """Share of the highest possible rate of the devices, 0 to 1."""
    seconds: float
    merge_s: float
    """Time from the end of the last item to the end of the job: merge and report."""
    device_busy: float
    """Mean share of the time that devices spent in the network, 0 to 1."""
    slots_full: float
    """Mean number of images per batch, of 16."""
    cpu_ms: float
    """CPU time of all workers per image."""
    commands: float
    """Commands that workers sent to Redis per image."""
    commands_with_scripts: float
    """Commands per image including those that scripts called inside Redis."""
    redis_bytes: float
    """Bytes to and from Redis per image."""
    redis_peak_mb: float
    """Peak memory of Redis above the memory in use before the submission."""
    exact: bool
    """Whether the counters are exact: all items done and none failed."""
    producer_cpu_s: float
    queued_mb: float
    """Memory of Redis for queue and state right after the submission."""


def measure(
    plan: Sequence[tuple[int, int]], folder: Path, *, warm_up: int = WARM_UP
) -> Iterator[Run]:
    """Run jobs by a *plan* of (workers, images); print and yield each result."""
    with EmbeddedServers(folder / "servers") as servers:
        env = {"PATH": os.defpath, **servers.settings(), "RMBG_MODELS": MODEL}
        jobs = JobStore.connect(ServiceSettings.from_env(env).store_url)
        for count, group in groupby(plan, key=itemgetter(0)):
            with Workers(count, env, folder) as workers:
                workers.wait_ready(jobs)
                _measure_one(workers, warm_up * count, env, folder)
                for _, items in group:
                    run = _measure_one(workers, items, env, folder)
                    print(json.dumps(asdict(run)), flush=True)
                    yield run
            _wait_until_gone(jobs)


def table(runs: Sequence[Run]) -> str:
    """Return the runs as a Markdown table."""
    head = (
        "| workers | images | images/s | share of the device limit | device busy | batch "
        "| CPU ms per image | Redis commands | Redis bytes | Redis peak MB | counters |\n|"
        + "---:|"
        * 11
    )
    rows = [
        f"| {r.workers} | {r.items:,} | {r.images_per_s:.1f} | {r.of_devices:.1%} "
        f"| {r.device_busy:.1%} | {r.slots_full:.1f} | {r.cpu_ms:.2f} | {r.commands:.3f} "
        f"| {r.redis_bytes:.0f} | {r.redis_peak_mb:.1f} | {'exact' if r.exact else 'WRONG'} |"
        for r in runs
    ]
    return "\n".join((head, *rows))


def _measure_one(workers: Workers, items: int, env: Mapping[str, str], folder: Path) -> Run:
    jobs = JobStore.connect(ServiceSettings.from_env(env).store_url)
    traffic = Traffic(redis.Redis.from_url(env["RMBG_REDIS_URL"], decode_responses=True))
    cpu_s, notes = workers.cpu_s(), workers.device_notes()
    job_id, producer_cpu_s = _submit(items, env, folder)
    queued_bytes = traffic.memory_bytes() - traffic.start_bytes
    while (status := jobs.queries.status(job_id)).done + status.failed < items:
        time.sleep(POLL_S)
        traffic.sample()
    ended_at = datetime.now(UTC)
    cpu_s = workers.cpu_s() - cpu_s
    through_redis = {name: traffic.grown(name) for name in _COUNTERS}
    time.sleep(SETTLE_S)
    devices = _sums(workers.device_notes()) - _sums(notes)
    while (status := jobs.queries.status(job_id)).state not in TERMINAL_STATES:
        time.sleep(POLL_S)
    seconds = (ended_at - status.created_at).total_seconds()
    count = len(workers.processes)
    return Run(
        workers=count,
        items=items,
        seconds=seconds,
        images_per_s=items / seconds,
        of_devices=items / seconds / (count * IMAGES_PER_S),
        merge_s=((status.finished_at or ended_at) - ended_at).total_seconds(),
        device_busy=devices["busy_s"] / (count * seconds),
        slots_full=devices["items"] / devices["batches"],
        cpu_ms=1000 * cpu_s / items,
        commands=devices["commands"] / items,
        commands_with_scripts=through_redis["total_commands_processed"] / items,
        redis_bytes=sum(through_redis[name] for name in _COUNTERS[1:]) / items,
        redis_peak_mb=(traffic.peak_bytes - traffic.start_bytes) / 1e6,
        queued_mb=queued_bytes / 1e6,
        producer_cpu_s=producer_cpu_s,
        exact=(status.done, status.failed, status.total) == (items, 0, items),
    )


_COUNTERS: Final = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")


def _submit(items: int, env: Mapping[str, str], folder: Path) -> tuple[str, float]:
    """Submit a job of *items* keys with `rmbg submit`; return its id and the CPU seconds used."""
    keys = folder / "keys.txt"
    with keys.open("w") as file:
        file.writelines(f"catalogue/2026/spring/{n // 1000:04}/{n:07}.jpg\n" for n in range(items))
    command = [str(Path(sys.executable).with_name("rmbg")), "submit", "--rem-mode", MODEL]
    command += ["--keys", str(keys), "--save-prefix", f"out-{time.time_ns()}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=dict(env), check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return done.stdout.strip(), cpu_s


def _sums(notes: Sequence[Mapping[str, float]]) -> Counter[str]:
    return sum((Counter(note) for note in notes), Counter())


def _wait_until_gone(jobs: JobStore) -> None:
    """Wait until no worker is registered."""
    while jobs.fleet.workers():
        time.sleep(POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", help="WORKERS:ITEMS, such as 8:100000")
    asked = [tuple(map(int, run.split(":"))) for run in parser.parse_args().runs]
    with tempfile.TemporaryDirectory() as folder:
        print(table(list(measure(asked or QUICK, Path(folder)))))


if __name__ == "__main__":
    main()
