"""Build the images and run the compose file: jobs, a killed worker and a stopped one.

    tests/compose/engine.sh python tests/compose/run.py [--keep]

Needs a Docker engine and `docker-compose` (or `docker compose`), which `engine.sh` provides. Prints
one line per check; exits with 1 at the first check that fails.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import httpx
import prometheus
from commands import CheckFailed, Compose, docker, report, wait_for
from containers import check_ports, check_worker, leases, stop, wait_healthy
from images import check_images
from PIL import Image
from preparation import MODEL, photographs, prepare, upload

from shared.objects import S3Store

COPIES: Final = 8
"""Copies of each photograph in a job: enough that a fast machine is still in the middle of it after
the container of `rmbg submit` has gone, so that a worker can be killed or stopped there."""
JOB_S: Final = 300.0
GATEWAY_URL: Final = "http://127.0.0.1:8080"
UNAUTHORIZED: Final = 401
BUILD_S: Final = 300.0


def check_all(compose: Compose, store: S3Store) -> None:
    """Build, run, kill, scale and stop, and check the results."""
    compose("build", "worker", "producer", "gateway", timeout_s=BUILD_S)
    check_images()
    prometheus.check_alerts()
    compose("up", "-d", "redis", "s3", "worker")
    wait_healthy(compose, {"redis": 1, "s3": 1, "worker": 1})
    check_ports()
    prometheus.start(compose)
    check_kill(compose, store)
    prometheus.check_scraped(workers=2)
    check_ports(also=frozenset({"127.0.0.1:9090"}))
    check_stop(compose, store)
    check_gateway(compose)


def check_kill(compose: Compose, store: S3Store) -> None:
    """Kill the only worker with SIGKILL during a job; two others finish the job."""
    job = submit(compose, store, "catalogue")
    wait_for("some images are done", lambda: status(compose, job)["done"])
    docker("kill", "--signal", "KILL", *compose.containers("worker"))
    report("worker killed with SIGKILL", left := status(compose, job))
    if left["state"] == "done":
        raise CheckFailed("the job ended before its worker was killed; add copies")
    compose("up", "-d", "--scale", "worker=2", "worker")
    wait_healthy(compose, {"worker": 2})
    for worker in compose.containers("worker"):
        check_worker(worker)
    wait_for("the job is done", lambda: status(compose, job)["state"] == "done", within_s=JOB_S)
    check_results(compose, store, job)


def check_stop(compose: Compose, store: S3Store) -> None:
    """Stop one of two workers during a job; the other finishes the job."""
    job = submit(compose, store, "more")
    workers = compose.containers("worker")
    stop(wait_for("a worker holds leases", lambda: next(filter(leases, workers), "")))
    report("after the stop", left := status(compose, job))
    if left["state"] == "done":
        raise CheckFailed("the job ended before its worker was stopped; add copies")
    wait_for("the job is done", lambda: status(compose, job)["state"] == "done", within_s=JOB_S)
    check_results(compose, store, job)


def check_gateway(compose: Compose) -> None:
    """Start the gateway, and call it with a key."""
    compose("up", "-d", "gateway")
    wait_healthy(compose, {"gateway": 1})
    key = compose.rmbg("keys", "create", "shop").split()[-1]
    url = f"{GATEWAY_URL}/v1/models"
    answer, unknown = httpx.get(url, headers={"Authorization": f"Bearer {key}"}), httpx.get(url)
    report("the gateway answers", answer.status_code, unknown.status_code)
    if MODEL not in answer.text or unknown.status_code != UNAUTHORIZED:
        raise CheckFailed(f"the gateway answered {answer.status_code}: {answer.text}")


def submit(compose: Compose, store: S3Store, prefix: str) -> str:
    """Upload photographs and submit them; return the job's id."""
    upload(store, prefix, copies=COPIES)
    output = compose.rmbg("submit", "--prefix", f"s3://inbox/{prefix}/", "--rem-mode", MODEL)
    return output.split()[-1]


def check_results(compose: Compose, store: S3Store, job: str) -> None:
    """Check that records, bucket and counters agree."""
    found = status(compose, job)
    records = [json.loads(line) for line in compose.rmbg("results", job).splitlines()]
    report("ended", found)
    sources = COPIES * len(photographs())
    if found["failed"] or not found["done"] == len(records) == found["total"] == sources:
        raise CheckFailed(f"{sources} photographs, but {len(records)} records and {found}")
    for record in records:
        with Image.open(io.BytesIO(store.get("cutouts", record["cutout_key"]).data)) as cutout:
            size = (record["width"], record["height"])
            if (cutout.mode, cutout.size) != ("RGBA", size):
                raise CheckFailed(f"{record['cutout_key']}: {cutout.mode} {cutout.size}")
            if cutout.getchannel("A").getextrema() != (0, 255):
                raise CheckFailed(f"{record['cutout_key']}: the alpha channel is not 0 to 255")
    report("cutouts read back", len(records))


def status(compose: Compose, job: str) -> dict[str, object]:
    """Return `rmbg status --json`, also if images have failed (exit code 1)."""
    body: dict[str, object] = json.loads(compose.rmbg("status", job, "--json", accepted=(0, 1)))
    return {name: body[name] for name in ("state", "waiting_for", "total", "done", "failed")}


def compose_command() -> list[str]:
    """Return the command that runs compose on this machine."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def print_failure(compose: Compose, err: CheckFailed) -> None:
    """Print the last lines of every service's log, and then the error."""
    for service in ("worker", "gateway", "redis", "s3", "prometheus"):
        logs = ("--profile", "metrics", "logs", "--tail", "30", service)
        print(compose(*logs, accepted=(0, 1))[-3000:])
    print(f"compose test failed: {err}")


def main(*, keep: bool) -> int:
    """Run all checks; with *keep*, leave everything running."""
    # `timeout` ends this process with SIGTERM; exit through the `finally` below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = Path(tempfile.mkdtemp())
    settings = prepare(scratch)
    compose = Compose(compose_command(), scratch)
    try:
        compose.down()
        check_all(compose, S3Store(settings))
    except CheckFailed as err:
        print_failure(compose, err)
        return 1
    finally:
        if not keep:
            compose.down()
            shutil.rmtree(scratch)
    print("compose test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(keep="--keep" in sys.argv))
