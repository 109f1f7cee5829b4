"""What many idle streams of events cost a gateway: memory, connections to Redis, time of a POST.

`python -m benchmarks.gateway_load streams` prints one JSON object. The clients run in a
process of their own; the file limit must allow a descriptor for each stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import redis

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.gateway_system import (  # noqa: E402 - needs the path set above
    gateway_process,
    new_client,
    percentile,
)
from producer.local.servers import EmbeddedServers  # noqa: E402
from producer.services import Services  # noqa: E402
from shared.settings import ServiceSettings  # noqa: E402

JOBS = 20
POSTS = 100
AT_ONCE = 100
"""Streams that are opened at the same time."""
HOLD = "--hold"


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument(HOLD, nargs=3, metavar=("URL", "KEY", "JOBS"), help="used by itself")
    given = parser.parse_args()
    raise_file_limit()
    if given.hold:
        url, key, jobs = given.hold
        asyncio.run(hold(url, key, jobs.split(","), given.streams))
        return
    print(json.dumps(measure(given.streams)))


def raise_file_limit() -> None:
    """Allow this process and its children a descriptor for each stream, as far as possible."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(streams: int) -> dict[str, float]:
    """Return the figures of a gateway with no and with *streams* streams."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServers(Path(folder)) as servers:
        return _measured(servers.settings(), streams)


def _measured(env: dict[str, str], streams: int) -> dict[str, float]:
    services = Services(ServiceSettings.from_env(env))
    with (
        gateway_process(env, max_streams=streams) as (url, gateway),
        new_client(services, url, "bench") as client,
        redis.Redis.from_url(services.settings.store_url) as store,
    ):
        jobs = [post(client, f"job-{n}") for n in range(JOBS)]
        idle_s, idle_mib = posts(client), rss_mib(gateway.pid)
        key = client.headers["authorization"]
        arguments = [HOLD, url, key, ",".join(jobs), "--streams", str(streams)]
        holder = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        assert holder.stdout is not None
        opened = int(holder.stdout.readline())
        busy_s, busy_mib = posts(client), rss_mib(gateway.pid)
        names = [each["name"] for each in store.client_list()]
        holder.communicate(b"\n")
        after_s = posts(client)
    return {
        "streams": opened,
        "rss_idle_mib": idle_mib,
        "rss_mib": busy_mib,
        "redis_connections": sum(each.startswith("rmbg") for each in names) - 1,  # one is ours
        "post_p95_idle_ms": idle_s,
        "post_p95_ms": busy_s,
        "post_p95_after_ms": after_s,
    }


def post(client: httpx.Client, name: str) -> str:
    """Create a job and return its ID."""
    answer = client.post("/v1/jobs", json={"keys": [f"{name}.jpg"]}).raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def posts(client: httpx.Client) -> float:
    """Return the 95th percentile of the time of a POST that waits for no disk, in milliseconds."""
    body = {"files": [{"name": "a.jpg", "bytes": 1}]}
    times = []
    for _ in range(POSTS):
        begin = time.perf_counter()
        client.post("/v1/uploads", json=body).raise_for_status()
        times.append(time.perf_counter() - begin)
    return round(percentile(times, 0.95) * 1000, 1)


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process on Linux."""
    [line] = [
        each
        for each in Path(f"/proc/{pid}/status").read_text().splitlines()
        if each.startswith("VmRSS")
    ]
    return round(int(line.split()[1]) / 1024, 1)


async def hold(url: str, key: str, jobs: list[str], streams: int) -> None:
    """Open streams, print how many began, and keep them open until standard input ends."""
    host, _, port = url.removeprefix("http://").partition(":")
    gate, begun = asyncio.Semaphore(AT_ONCE), 0
    connections = []

    async def listen(number: int) -> None:
        nonlocal begun
        async with gate:
            reader, writer = await asyncio.open_connection(host, int(port), limit=2**12)
            path = f"/v1/jobs/{jobs[number % len(jobs)]}/events"
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\n\r\n"
            writer.write(request.encode())
            connections.append(writer)
            has_begun = b" 200 " in await reader.readline()
            await reader.readuntil(b"event: progress")
            begun += has_begun
        while await reader.read(2**12):
            pass

    tasks = [asyncio.create_task(listen(number)) for number in range(streams)]
    while begun < streams and not any(each.done() for each in tasks):
        await asyncio.wait(tasks, timeout=0.1)
    print(begun, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for each in tasks:
        each.cancel()


if __name__ == "__main__":
    main()
