"""What many idle streams of events cost a gateway: memory, connections to Redis, time of a POST.

`python benchmarks/idle_streams.py --streams 10000` prints one JSON object. The clients run in a
process of their own; the file limit must allow a descriptor for each stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import redis

from producer.local.servers import EmbeddedServers
from producer.services import Services
from shared.access import ApiKey, digest, new_text
from shared.settings import ServiceSettings

JOBS = 100
POSTS = 300
AT_ONCE = 100
"""Streams that are opened at the same time."""
GATEWAY = str(Path(sys.executable).with_name("rmbg-gateway"))
HOLD = "--hold"


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument(HOLD, nargs=3, metavar=("URL", "KEY", "JOBS"), help="used by itself")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.hold:
        url, key, jobs = given.hold
        asyncio.run(hold(url, key, jobs.split(","), given.streams))
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedServers(Path(folder)) as servers:
        print(json.dumps(measure(servers.settings(), given.streams)))


def measure(env: dict[str, str], streams: int) -> dict[str, float]:
    """Return the figures of a gateway with no and with *streams* streams."""
    services = Services(ServiceSettings.from_env(env))
    text = add_key(services)
    port = free_port()
    command = {**env, "RMBG_GATEWAY_PORT": str(port), "RMBG_GATEWAY_PROBES_PORT": "0"}
    command["RMBG_GATEWAY_MAX_STREAMS"] = str(streams)
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {text}"}
    with (
        subprocess.Popen([GATEWAY], env=command, stderr=subprocess.DEVNULL) as gateway,
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        wait_for(client)
        jobs = [post(client, f"job-{n}") for n in range(JOBS)]
        idle = posts(client, "idle"), rss_mib(gateway.pid)
        arguments = [HOLD, url, text, ",".join(jobs), "--streams", str(streams)]
        holder = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        assert holder.stdout is not None
        opened = int(holder.stdout.readline())
        busy = posts(client, "busy"), rss_mib(gateway.pid)
        with redis.Redis.from_url(services.settings.store_url) as store:
            names = [each["name"] for each in store.client_list()]
        holder.communicate(b"\n")
        after = posts(client, "after")
        gateway.terminate()
    return {
        "streams": opened,
        "rss_idle_mib": idle[1],
        "rss_mib": busy[1],
        "redis_connections": names.count("rmbg-store") - 1,  # one is ours
        "post_p95_idle_ms": idle[0],
        "post_p95_ms": busy[0],
        "post_p95_after_ms": after,
    }


def free_port() -> int:
    """Return a port on loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def add_key(services: Services) -> str:
    """Create an API key and return its text."""
    text = new_text("bench")
    services.jobs.api_keys.add(
        ApiKey(
            name="bench",
            tenant="bench",
            sha256=digest(text),
            bucket="inbox",
            rate_per_minute=60_000,
            created_at=datetime.now(UTC),
        )
    )
    return text


def wait_for(client: httpx.Client) -> None:
    """Return when the gateway answers."""
    while True:
        try:
            client.get("/v1/jobs").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return


def post(client: httpx.Client, name: str) -> str:
    """Create a job and return its ID."""
    answer = client.post("/v1/jobs", json={"keys": [f"{name}.jpg"]}).raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def posts(client: httpx.Client, name: str) -> float:
    """Return the 95th percentile of the time of a POST, in milliseconds."""
    times = []
    for n in range(POSTS):
        begin = time.perf_counter()
        post(client, f"{name}-{n}")
        times.append(time.perf_counter() - begin)
    return round(sorted(times)[int(POSTS * 0.95)] * 1000, 1)


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
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
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
