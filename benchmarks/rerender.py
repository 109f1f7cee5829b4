"""Compare `rmbg rerender` with the job that made the masks: CPU, forward passes, equal bytes.

    python -m benchmarks.rerender --images 200

Both jobs run in one `rmbg-worker` with the real network on the CPU. The first writes masks and an
output; the second makes the output of that recipe under another name, with equal bytes.
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from producer.client import Client
from producer.local.servers import EmbeddedServers
from shared.objects import ObjectStore, S3Store
from shared.recipes import Recipe
from shared.settings import ServiceSettings

MODEL: Final = "isnet-general-use"
PHOTOS: Final = Path(__file__).resolve().parents[1] / "examples/photos"
FIRST: Final = Recipe(
    name="first", format="jpg", size="1000x1000", fill=0.85, background="#ffffff", quality=90
)
AGAIN: Final = FIRST.model_copy(update={"name": "again"})
WAIT_S: Final = 3600.0


def photograph(number: int, side_px: int) -> bytes:
    """Return a JPEG of its own: a part of an example photograph, enlarged, with grain."""
    files = sorted(PHOTOS.glob("*.jpg"))
    draw = np.random.default_rng(number)
    with Image.open(files[number % len(files)]) as image:
        pixels = np.asarray(image.convert("RGB"))
    share = draw.uniform(0.8, 1.0)
    height, width = (int(share * side) for side in pixels.shape[:2])
    top, left = (
        int(draw.integers(0, all_ - part + 1))
        for all_, part in zip(pixels.shape[:2], (height, width), strict=True)
    )
    part = pixels[top : top + height, left : left + width]
    large = cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    grain = draw.normal(0, 2, large.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


class Worker:
    """A real worker process, its CPU time and what it has logged."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        program = shutil.which("rmbg-worker", path=os.fspath(Path(sys.executable).parent))
        if program is None:
            raise SystemExit("rmbg-worker is not installed beside this Python")
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen([program], env=dict(env), stdout=file, stderr=file)

    def close(self) -> None:
        """Stop it in order."""
        self._process.terminate()
        self._process.wait(60)

    def cpu_s(self) -> float:
        """Return the CPU time so far, with that of children that have ended."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def passes(self) -> int:
        """Return how many batches went through the network."""
        return self._log.read_text().count("batch done")


def run(images: int, side_px: int, folder: Path) -> dict[str, Any]:
    """Return the figures of both jobs."""
    with EmbeddedServers(folder / "servers") as servers:
        env = {"PATH": os.defpath, "HOME": str(Path.home()), **servers.settings()}
        env |= {"RMBG_DEVICE": "cpu", "RMBG_MODELS": MODEL}
        store = S3Store(ServiceSettings.from_env(env).objects)
        keys = [f"{n:04}.jpg" for n in range(images)]
        for n, key in enumerate(keys):
            store.put("inbox", key, photograph(n, side_px), content_type="image/jpeg")
        worker = Worker(env, folder / "worker.log")
        try:
            return _measure(Client.from_env(env), worker, store, keys)
        finally:
            worker.close()


def _measure(client: Client, worker: Worker, store: ObjectStore, keys: list[str]) -> dict[str, Any]:
    def timed(job_id: str) -> dict[str, Any]:
        status = client.wait(job_id, WAIT_S)
        if status.done != len(keys):
            raise SystemExit(f"{status.done} of {len(keys)} images: {status.error_classes}")
        cpu_s, passes = worker.cpu_s(), worker.passes()
        figures = {
            "cpu_ms_an_image": round(1000 * (cpu_s - before[0]) / len(keys), 1),
            "batches": passes - before[1],
            "reused": sum(each.mask == "reused" for each in client.results(job_id)),
        }
        before[:] = cpu_s, passes
        return figures

    # The model is loaded before the first measurement.
    client.wait(client.submit(keys[:2], rem_mode=MODEL, save_prefix="warm"), WAIT_S)
    before = [worker.cpu_s(), worker.passes()]
    first_id = client.submit(keys, rem_mode=MODEL, save_prefix="out", outputs=[FIRST])
    figures = {"first job": timed(first_id)}
    print(json.dumps(figures), flush=True)
    figures["rerender"] = timed(client.rerender(first_id, [AGAIN]))
    differing = [key for key in keys if _body(store, FIRST, key) != _body(store, AGAIN, key)]
    figures["differing outputs"] = {"count": len(differing)}
    return figures


def _body(store: ObjectStore, recipe: Recipe, key: str) -> bytes:
    return store.get("cutouts", f"out/{recipe.name}/{key}.jpg").data


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=2000, help="pixels of the square photographs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the worker ends, too
    with tempfile.TemporaryDirectory(prefix="rmbg-rerender-") as folder:
        print(json.dumps(run(args.images, args.side, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
