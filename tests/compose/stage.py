"""Builds the images and runs the compose file for real: jobs, a killed and a stopped worker.

    tests/compose/engine.sh python tests/compose/stage.py [--keep]

Needs a Docker engine and `docker-compose` (or `docker compose`); `engine.sh` sees to them. Prints
what it saw, one line a fact; exits 1 at the first fact that is not as it should be.
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

import watching
from calls import Compose, Failed, docker, say, until
from containers import check_ports, check_worker, leases, stop, wait_healthy
from ground import MODEL, lay_out, photographs, prepare
from images import check_images
from PIL import Image

from shared.objects import S3Store

COPIES: Final = 3
"""Of each photograph in a job: enough that a worker that goes at the first ones leaves most."""
BUILD_S: Final = 300.0


def stage(compose: Compose, store: S3Store) -> None:
    """Build, run, kill, scale, stop, and look at what came out."""
    compose("build", "worker", "producer", timeout_s=BUILD_S)
    check_images()
    watching.check_alerts()
    compose("up", "-d", "redis", "s3", "worker")
    wait_healthy(compose, {"redis": 1, "s3": 1, "worker": 1})
    check_ports()
    watching.start(compose)
    killed(compose, store)
    watching.check_watched(workers=2)
    check_ports(also=frozenset({"127.0.0.1:9090"}))
    stopped(compose, store)


def killed(compose: Compose, store: S3Store) -> None:
    """One worker, ended by SIGKILL in the middle of a job; two go on with it."""
    job = submit(compose, store, "catalogue")
    until("something is done", lambda: status(compose, job)["done"])
    docker("kill", "--signal", "KILL", *compose.containers("worker"))
    say("worker killed with SIGKILL", left := status(compose, job))
    if left["state"] == "done":
        raise Failed("the job was too short to kill a worker in it")
    compose("up", "-d", "--scale", "worker=2", "worker")
    wait_healthy(compose, {"worker": 2})
    for worker in compose.containers("worker"):
        check_worker(worker)
    until("the job is done", lambda: status(compose, job)["state"] == "done")
    check_results(compose, store, job)


def stopped(compose: Compose, store: S3Store) -> None:
    """Two workers, one stopped in the middle of a job; the other ends it."""
    job = submit(compose, store, "more")
    workers = compose.containers("worker")
    stop(until("a worker holds leases", lambda: next(filter(leases, workers), "")))
    say("after the stop", status(compose, job))
    until("the job is done by the other", lambda: status(compose, job)["state"] == "done")
    check_results(compose, store, job)


def submit(compose: Compose, store: S3Store, prefix: str) -> str:
    """Lay out photographs and submit them; return the job's id."""
    lay_out(store, prefix, copies=COPIES)
    said = compose.rmbg("submit", "--prefix", f"s3://inbox/{prefix}/", "--rem-mode", MODEL)
    return said.split()[-1]


def check_results(compose: Compose, store: S3Store, job: str) -> None:
    """Compare records, bucket and counters."""
    found = status(compose, job)
    records = [json.loads(line) for line in compose.rmbg("results", job).splitlines()]
    say("ended", found)
    sources = COPIES * len(photographs())
    if found["failed"] or not found["done"] == len(records) == found["total"] == sources:
        raise Failed(f"{sources} photographs, {len(records)} records, and counted: {found}")
    for record in records:
        with Image.open(io.BytesIO(store.get("cutouts", record["cutout_key"]).data)) as cutout:
            size = (record["width"], record["height"])
            if (cutout.mode, cutout.size) != ("RGBA", size):
                raise Failed(f"{record['cutout_key']}: {cutout.mode} {cutout.size}")
            if cutout.getchannel("A").getextrema() != (0, 255):
                raise Failed(f"{record['cutout_key']}: nothing is cut out")
    say("cutouts read back", len(records))


def status(compose: Compose, job: str) -> dict[str, object]:
    """Return `rmbg status --json`; images that failed are no failure to tell it."""
    body: dict[str, object] = json.loads(compose.rmbg("status", job, "--json", accepted=(0, 1)))
    return {name: body[name] for name in ("state", "waiting_for", "total", "done", "failed")}


def compose_command() -> list[str]:
    """Return how compose is called here."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def tell_why(compose: Compose, err: Failed) -> None:
    """Print what failed and the ends of the logs."""
    print(f"compose stage failed: {err}")
    for service in ("worker", "redis", "s3", "prometheus"):
        logs = ("--profile", "metrics", "logs", "--tail", "30", service)
        print(compose(*logs, accepted=(0, 1))[-3000:])


def main(*, keep: bool) -> int:
    """Run the stage; leave everything running where *keep* says so."""
    # The way out of `timeout`, through the `finally` below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = Path(tempfile.mkdtemp())
    settings = prepare(scratch)
    compose = Compose(compose_command(), scratch)
    try:
        compose.down()
        stage(compose, S3Store(settings))
    except Failed as err:
        tell_why(compose, err)
        return 1
    finally:
        if not keep:
            compose.down()
            shutil.rmtree(scratch)
    print("compose stage passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(keep="--keep" in sys.argv))
