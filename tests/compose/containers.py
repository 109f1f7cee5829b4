"""Looks at running containers from outside, and stops one."""

from __future__ import annotations

import json
import time
from typing import Final

from calls import PROJECT, Compose, Failed, docker, run, say, until

HEALTHY_S: Final = 90.0
STOP_S: Final = 25.0
"""`RMBG_DRAIN_S`: from SIGTERM to the end."""
PAGE: Final = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9464" + sys.argv[1], timeout=5).read().decode())
"""


def wait_healthy(compose: Compose, services: dict[str, int]) -> None:
    """Wait until so many containers of each service are healthy."""

    def healths() -> list[str]:
        template = "{{with .State.Health}}{{.Status}}{{end}}"
        ids = [each for service in services for each in compose.containers(service)]
        return docker("inspect", "-f", template, *ids).splitlines() if ids else []

    wanted = ["healthy"] * sum(services.values())
    until(f"healthy: {services}", lambda: healths() == wanted, within_s=HEALTHY_S)


def check_worker(worker: str) -> None:
    """See that a worker can write nowhere but in /tmp, has nothing about it, and answers."""
    for place in ("/", "/work", "/home/rmbg", "/weights", "/usr"):
        tried = run("docker", "exec", worker, "touch", f"{place}/x", accepted=(0, 1))
        if "Read-only file system" not in tried.stderr:
            raise Failed(f"a worker can write to {place}: {tried.stderr}")
    docker("exec", worker, "touch", "/tmp/x")
    if found := docker("exec", worker, "ls", "-A", "."):
        raise Failed(f"a worker's working directory is not empty: {found}")
    for name in ("/livez", "/readyz"):
        say(f"worker answers {name}:", page(worker, name))
    if "rmbg_images_total" not in page(worker, "/metrics"):
        raise Failed("the worker's /metrics does not count images")


def check_ports(*, also: frozenset[str] = frozenset()) -> None:
    """See that nothing can be reached from outside but S3 and *also*, and these from here only."""
    ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
    found = set()
    for each in json.loads(docker("inspect", *ids)):
        for bindings in each["NetworkSettings"]["Ports"].values():
            found |= {f"{at['HostIp']}:{at['HostPort']}" for at in bindings or ()}
    if found != {"127.0.0.1:8333"} | also:
        raise Failed(f"published: {sorted(found)}")
    say("published:", *sorted(found))


def page(worker: str, name: str) -> str:
    """Return a page of a worker, as seen from inside its container."""
    return docker("exec", worker, "python", "-c", PAGE, name)


def leases(worker: str) -> int:
    """Return how many tickets a worker holds."""
    for line in page(worker, "/metrics").splitlines():
        if line.startswith("rmbg_leases_held "):
            return int(float(line.split()[1]))
    raise Failed("the worker does not say how many leases it holds")


def stop(worker: str) -> None:
    """Stop a worker in the middle of its work: it must leave by itself, well and in time."""
    held = leases(worker)
    began = time.monotonic()
    docker("stop", "--time", "60", worker)
    took_s = time.monotonic() - began
    code = int(docker("inspect", "-f", "{{.State.ExitCode}}", worker))
    say("worker stopped:", {"held": held, "exit": code, "took_s": round(took_s, 1)})
    if not held or code or took_s > STOP_S:
        raise Failed(f"a worker with {held} leases took {took_s:.1f} s to stop, exit {code}")
