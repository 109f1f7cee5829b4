"""Check running containers from outside, and stop one."""

from __future__ import annotations

import json
import time
from typing import Final

from commands import PROJECT, CheckFailed, Compose, docker, report, run, wait_for

HEALTHY_S: Final = 240.0
STOP_S: Final = 35.0
"""`RMBG_DRAIN_S`, the 25 s from SIGTERM to the exit of a worker, and Docker's own time."""
PAGE: Final = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9464" + sys.argv[1], timeout=5).read().decode())
"""


def wait_healthy(compose: Compose, services: dict[str, int]) -> None:
    """Wait until each service has its number of healthy containers."""

    def healths() -> list[str]:
        template = "{{with .State.Health}}{{.Status}}{{end}}"
        ids = [each for service in services for each in compose.containers(service)]
        return docker("inspect", "-f", template, *ids).splitlines() if ids else []

    wanted = ["healthy"] * sum(services.values())
    wait_for(f"healthy: {services}", lambda: healths() == wanted, within_s=HEALTHY_S)


def check_worker(worker: str) -> None:
    """Check that a worker can write to /tmp only, starts in an empty folder, and answers HTTP."""
    for folder in ("/", "/work", "/home/rmbg", "/weights", "/usr"):
        done = run("docker", "exec", worker, "touch", f"{folder}/x", accepted=(0, 1))
        if "Read-only file system" not in done.stderr:
            raise CheckFailed(f"a worker can write to {folder}: {done.stderr}")
    docker("exec", worker, "touch", "/tmp/x")
    if found := docker("exec", worker, "ls", "-A", "."):
        raise CheckFailed(f"a worker's working directory is not empty: {found}")
    for name in ("/livez", "/readyz"):
        report(f"worker answers {name}:", page(worker, name))
    if "rmbg_images_total" not in page(worker, "/metrics"):
        raise CheckFailed("the worker's /metrics does not count images")


def check_ports(*, also: frozenset[str] = frozenset()) -> None:
    """Check that only S3 and *also* are published, and on loopback only."""
    ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
    found = set()
    for each in json.loads(docker("inspect", *ids)):
        for bindings in each["NetworkSettings"]["Ports"].values():
            found |= {f"{at['HostIp']}:{at['HostPort']}" for at in bindings or ()}
    if found != {"127.0.0.1:8333"} | also:
        raise CheckFailed(f"published: {sorted(found)}")
    report("published:", *sorted(found))


def page(worker: str, name: str) -> str:
    """Return the body of an HTTP path of a worker, requested from inside its container."""
    return docker("exec", worker, "python", "-c", PAGE, name)


def leases(worker: str) -> int:
    """Return the number of tickets that a worker holds."""
    for line in page(worker, "/metrics").splitlines():
        if line.startswith("rmbg_leases_held "):
            return int(float(line.split()[1]))
    raise CheckFailed("the worker's /metrics lacks rmbg_leases_held")


def stop(worker: str) -> None:
    """Stop a worker in the middle of a job, and check that it exits with 0 and in time."""
    held = leases(worker)
    started_s = time.monotonic()
    docker("stop", "--time", "60", worker)
    took_s = time.monotonic() - started_s
    code = int(docker("inspect", "-f", "{{.State.ExitCode}}", worker))
    report("worker stopped:", {"held": held, "exit": code, "took_s": round(took_s, 1)})
    if not held or code or took_s > STOP_S:
        raise CheckFailed(
            f"a worker with {held} leases took {took_s:.1f} s to stop, exit code {code}"
        )
