"""(g) The cost of outputs: CPU of one more, CPU and wall time of items and jobs, peak memory.

    python -m benchmarks.outputs [--rounds 5] [--images 8] [--only items,jobs,memory]

Half of the images are products, half photographs; the masks come from the real network. Cases are
measured in turn on each image or in each round, so that other load affects all of them alike.
Figures are medians, ratios medians of the ratios on one image or in one round. No item gets a
preview.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from support.weights import isnet_weights  # noqa: E402 - needs the path set above

from benchmarks.output_items import CASES, MASK_ONLY, RATIOS, TODAY, cpu_ms  # noqa: E402
from benchmarks.products import jpeg, product  # noqa: E402
from benchmarks.rerender import MODEL, WAIT_S, Worker, photograph  # noqa: E402
from producer.client import Client  # noqa: E402
from producer.local.servers import EmbeddedServers  # noqa: E402
from shared.job.output_keys import MASK  # noqa: E402
from shared.job.spec import Previews  # noqa: E402
from shared.objects import S3Store  # noqa: E402
from shared.settings import ServiceSettings  # noqa: E402
from worker.imaging.decode import Limits, decode  # noqa: E402
from worker.imaging.types import Mask  # noqa: E402
from worker.inference.segmenter import Segmenter  # noqa: E402
from worker.runtime.malloc import keep_memory  # noqa: E402

PARTS: Final = ("items", "jobs", "memory")
WARM_UP: Final = 2


def measure(
    weights: Path,
    folder: Path,
    *,
    images: int,
    rounds: int,
    side_px: int,
    parts: Sequence[str] = PARTS,
) -> dict[str, Any]:
    """Return the figures of *parts*.

    Args:
        weights: File of `isnet-general-use`.
        folder: Empty folder.
        images: In each job; items and memory are measured on the first ones.
        rounds: Of all cases.
        side_px: Of the images, which are square.
        parts: Which of `PARTS`.
    """
    cv2.setNumThreads(1)  # as in a worker
    torch.set_num_threads(1)  # whose time spent waiting would count as that of the stage
    files = [_image(number, side_px) for number in range(images)]
    result: dict[str, Any] = {"side_px": side_px, "images": images, "rounds": rounds}
    if "items" in parts or "memory" in parts:
        masks = _masks(weights, files[:4])
    if "items" in parts:
        result["items"] = cpu_ms(list(zip(files, masks, strict=False)), rounds)
    if "memory" in parts:
        result["peak_mib"] = _peaks(folder, files[0], masks[0])
    if "jobs" in parts:
        result["jobs"] = _jobs(folder, files, rounds)
    return result


def _image(number: int, side_px: int) -> bytes:
    return photograph(number, side_px) if number % 2 else jpeg(product(number, side_px))


def _masks(weights: Path, files: Sequence[bytes]) -> list[Mask]:
    segmenter = Segmenter.load(weights, device="cpu")
    masks = []
    for data in files:
        image = decode(data, Limits()).image
        (output,) = segmenter.forward([segmenter.prepare(image)])
        masks.append(segmenter.finish(output, *image.shape[:2], stretch="guarded").mask)
    return masks


def _peaks(folder: Path, data: bytes, mask: Mask) -> dict[str, float]:
    """Return the peak memory of one item by case, in MiB, beyond what its process held before."""
    source, mask_file = folder / "source.jpg", folder / "mask.npy"
    source.write_bytes(data)
    np.save(mask_file, mask)
    command = [sys.executable, "-m", "benchmarks.output_items"]
    return {
        case: float(
            subprocess.run(
                [*command, case, source, mask_file], cwd=ROOT, capture_output=True, check=True
            ).stdout
        )
        for case in CASES
    }


def _jobs(folder: Path, files: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Run a job of each case in turn, *rounds* times, in one worker with the real network."""
    times: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    with EmbeddedServers(folder / "servers") as servers:
        env = {"PATH": os.defpath, "HOME": str(Path.home()), **servers.settings()}
        env |= {"RMBG_DEVICE": "cpu", "RMBG_MODELS": MODEL}
        store, client = S3Store(ServiceSettings.from_env(env).objects), Client.from_env(env)
        keys = [f"{number:04}.jpg" for number in range(len(files))]
        for key, data in zip(keys, files, strict=True):
            store.put("inbox", key, data, content_type="image/jpeg")
        with closing(Worker(env, folder / "worker.log")) as worker:
            for case in CASES:  # loads the model, and what a first output loads
                _run(client, worker, keys[:WARM_UP], case, "warm")
            for number in range(rounds):
                for case in CASES:
                    times[case].append(_run(client, worker, keys, case, f"round-{number}"))
                    cpu_ms_each, wall_ms_each = times[case][-1]
                    print(f"round {number}, {case}: {cpu_ms_each:.0f}, {wall_ms_each:.0f} ms")
    return {
        "cpu_ms_an_image": {case: _median(times[case], 0) for case in CASES},
        "wall_ms_an_image": {case: _median(times[case], 1) for case in CASES},
        "cpu_ratios": _ratios(times, 0),
        "wall_ratios": _ratios(times, 1),
    }


def _run(
    client: Client, worker: Worker, keys: Sequence[str], case: str, prefix: str
) -> tuple[float, float]:
    """Return the CPU time of the worker and the wall time of a job, in ms an image."""
    cpu_s, started_s = worker.cpu_s(), time.monotonic()
    job_id = client.submit(
        keys,
        rem_mode=MODEL,
        save_prefix=f"{prefix}/{len(CASES[case])}-{case == TODAY}",
        outputs=[MASK] if case == MASK_ONLY else CASES[case],  # none: the default
        previews=Previews.NONE,
        reuse_masks=False,
    )
    status = client.wait(job_id, WAIT_S)
    if status.done != len(keys):
        raise RuntimeError(f"{status.done} of {len(keys)} images: {status.error_classes}")
    wall_s = time.monotonic() - started_s
    return 1000 * (worker.cpu_s() - cpu_s) / len(keys), 1000 * wall_s / len(keys)


def _median(times: Sequence[tuple[float, float]], which: int) -> float:
    return round(statistics.median(each[which] for each in times), 1)


def _ratios(times: Mapping[str, Sequence[tuple[float, float]]], which: int) -> dict[str, float]:
    def ratio(above: str, below: str) -> float:
        pairs = zip(times[above], times[below], strict=True)
        return round(statistics.median(a[which] / b[which] for a, b in pairs), 3)

    return {f"{above} to {below}": ratio(above, below) for above, below in RATIOS}


def table(result: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = []
    if items := result.get("items"):
        lines += ["| one more output | CPU ms |", "|---|---:|"]
        lines += [f"| {name} | {ms:.1f} |" for name, ms in items["one_more_output_ms"].items()]
        lines.append("")
    jobs, peaks = result.get("jobs"), result.get("peak_mib", {})
    lines += [
        "| item | render stage, CPU ms | job, CPU ms an image | job, wall ms an image | peak MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    columns = (
        items["render_stage_ms"] if items else {},
        jobs["cpu_ms_an_image"] if jobs else {},
        jobs["wall_ms_an_image"] if jobs else {},
        peaks,
    )
    for case in CASES:
        cells = (f"{column[case]:.0f}" if column else "" for column in columns)
        lines.append(f"| {case} | {' | '.join(cells)} |")
    ratios = [("render stage, CPU", items["ratios"])] if items else []
    if jobs:
        ratios += [("job, CPU", jobs["cpu_ratios"]), ("job, wall", jobs["wall_ratios"])]
    lines.append("")
    lines += [
        f"* {name}, {of}: {ratio:.2f} x" for name, found in ratios for of, ratio in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the figures as JSON and as a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8, help="in each job")
    parser.add_argument("--side", type=int, default=2000, help="pixels of the square images")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the worker ends, too
    keep_memory({})  # as in a worker
    with tempfile.TemporaryDirectory(prefix="rmbg-outputs-") as folder:
        result = measure(
            isnet_weights(),
            Path(folder),
            images=asked.images,
            rounds=asked.rounds,
            side_px=asked.side,
            parts=asked.only.split(","),
        )
    print(json.dumps(result, indent=1))
    print(table(result))


if __name__ == "__main__":
    main()
