"""Builds the images and runs the compose file for real: a job, a killed worker, a scale-up.

    python tests/compose/stage.py [--keep]

Needs a Docker engine and `docker-compose` (or `docker compose`); without one it says so and exits
0. Prints what it saw, one line a fact; exits 1 at the first fact that is not as it should be.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from shared import models, weights
from shared.objects import S3Store
from shared.settings import ServiceSettings, StoreSettings

ROOT = Path(__file__).parents[2]
MODEL = "isnet-general-use"
COPIES = 3
WAIT_S = 600.0
PRODUCER_LIMIT_MB = 200


class Failed(Exception):
    """A fact was not as it should be."""


class Compose:
    """`docker-compose` over the project's own file, with settings of this run alone."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = [*command, "-p", "rmbgstage", "--env-file", str(folder / ".env")]

    def __call__(self, *args: str, timeout_s: float = WAIT_S) -> str:
        """Run one sub-command and return what it printed."""
        command = [*self._command, *args]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode not in (0, 1):
            raise Failed(f"{' '.join(args)}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def rmbg(self, *args: str) -> str:
        """Run the producer's command in its image."""
        return self("run", "--rm", "-T", "producer", "rmbg", *args)


def engine_command() -> list[str] | None:
    """Return how compose is called here; None where there is no engine to call."""
    if shutil.which("docker") is None or _run("docker", "info").returncode != 0:
        return None
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    return ["docker", "compose"] if _run("docker", "compose", "version").returncode == 0 else None


def prepare(folder: Path) -> StoreSettings:
    """Write `.env`, the store's identities and the weights; return who we are to the store."""
    secret = secrets.token_urlsafe(16)
    identity = {
        "name": "rmbg",
        "credentials": [{"accessKey": "stage", "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    source = weights.pull(models.get(MODEL), ServiceSettings.from_env({}).home)
    (folder / "weights" / "weights").mkdir(parents=True)
    shutil.copy(source, folder / "weights" / "weights")
    variables = {
        "REDIS_PASSWORD": secrets.token_urlsafe(16),
        "S3_ACCESS_KEY_ID": "stage",
        "S3_SECRET_ACCESS_KEY": secret,
        "S3_CONFIG": str(folder / "s3.json"),
        "RMBG_WEIGHTS_DIR": str(folder / "weights"),
        "RMBG_MODELS": MODEL,
    }
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    (folder / ".env").write_text(lines)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return StoreSettings(
        endpoint="http://127.0.0.1:8333", access_key_id="stage", secret_access_key=secret
    )


def stage(compose: Compose, store: S3Store) -> None:
    """Build, run, kill, scale, and look at what came out."""
    compose("build", "worker", "producer", timeout_s=2 * WAIT_S)
    check_images()
    compose("up", "-d", "redis", "s3", "worker")
    until("the store answers", lambda: _answers(store))
    for path in sorted((ROOT / "examples" / "photos").rglob("*.jpg")):
        for copy in range(COPIES):
            key = f"catalogue/{copy}/{path.name}"
            store.put("inbox", key, path.read_bytes(), content_type="image/jpeg")
    submitted = ("submit", "--prefix", "s3://inbox/catalogue/", "--rem-mode", MODEL)
    job = compose.rmbg(*submitted).split()[-1]
    until("something is done", lambda: status(compose, job)["done"] > 0)
    worker = compose("ps", "-q", "worker").split()[0]
    _run("docker", "kill", "-s", "KILL", worker)
    say("worker killed with SIGKILL", status(compose, job))
    compose("up", "-d", "--scale", "worker=2", "worker")
    until("two workers run", lambda: len(compose("ps", "-q", "worker").split()) == 2)
    until("the job is done", lambda: status(compose, job)["state"] == "done")
    check_results(compose, store, job)


def check_images() -> None:
    """Look at sizes, users and contents of the images."""
    size = _run("docker", "image", "inspect", "-f", "{{.Size}}", "rmbg-queue-producer").stdout
    megabytes = int(size) / 1e6
    base = _run("docker", "image", "inspect", "-f", "{{.Size}}", "python:3.11-slim-bookworm").stdout
    say("producer image", {"MB": round(megabytes), "of which base": round(int(base) / 1e6)})
    torch = _run("docker", "run", "--rm", "rmbg-queue-producer", "python", "-c", "import torch")
    if torch.returncode == 0:
        raise Failed("the producer's image holds torch")
    for image in ("rmbg-queue-producer", "rmbg-queue-worker"):
        user = _run("docker", "run", "--rm", image, "id", "-u").stdout.strip()
        if user in ("", "0"):
            raise Failed(f"{image} runs as user {user!r}")
    if megabytes - int(base) / 1e6 > PRODUCER_LIMIT_MB:
        raise Failed(f"the producer adds over {PRODUCER_LIMIT_MB} MB to its base")


def check_results(compose: Compose, store: S3Store, job: str) -> None:
    """Compare records, bucket and counters."""
    records = [json.loads(line) for line in compose.rmbg("results", job).splitlines()]
    found = status(compose, job)
    say("ended", found)
    if found["failed"] or found["done"] != len(records) or len(records) != found["total"]:
        raise Failed(f"counters and records differ: {found}, {len(records)} records")
    for record in records:
        with Image.open(io.BytesIO(store.get("cutouts", record["cutout_key"]).data)) as cutout:
            if (cutout.mode, cutout.size) != ("RGBA", (record["width"], record["height"])):
                raise Failed(f"{record['cutout_key']}: {cutout.mode} {cutout.size}")
    say("cutouts read back", len(records))


def status(compose: Compose, job: str) -> dict[str, object]:
    """Return `rmbg status --json`."""
    body: dict[str, object] = json.loads(compose.rmbg("status", job, "--json"))
    return {name: body[name] for name in ("state", "waiting_for", "total", "done", "failed")}


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"not within {WAIT_S:.0f} s: {what}")
        time.sleep(1)
    say(what)


def say(what: str, *facts: object) -> None:
    """Print one line."""
    print(what, *facts, flush=True)


def _answers(store: S3Store) -> bool:
    try:
        store.check("inbox")
    except Exception:  # noqa: BLE001 - whatever it is, it is not up yet
        return False
    return True


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main(*, keep: bool) -> int:
    """Run the stage where there is an engine."""
    command = engine_command()
    if command is None:
        print("compose stage skipped: no Docker engine with compose can be reached here")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = prepare(folder)
        compose = Compose(command, folder)
        try:
            stage(compose, S3Store(settings))
        except Failed as err:
            print(f"compose stage failed: {err}")
            print(compose("logs", "--tail", "40", "worker")[-4000:])
            return 1
        finally:
            if not keep:
                compose("down", "-v", "--remove-orphans")
    print("compose stage passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(keep="--keep" in sys.argv))
