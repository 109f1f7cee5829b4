"""(a) The whole job: this system, rembg and the original node's loop on the same images."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, Self

import onnx
import torch
from onnx import TensorProto, numpy_helper

from benchmarks.network import flop_an_image, matrix_rate
from benchmarks.products import write_products
from producer.client import Client
from producer.local.servers import EmbeddedServers
from producer.local.worker_process import WorkerProcess
from shared.job.options import PictureOptions
from shared.job.spec import TERMINAL_STATES
from worker.inference.devices import pick_dtype

MODEL: Final = "isnet-general-use"
EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples/photos"
POLL_S: Final = 0.1
"""Polling every 20 ms would itself take 17 ms of CPU time per image."""
OURS, REMBG, SEED, FLOOR = "rmbg-queue", "rembg", "seed", "floor"
FLOOR_S: Final = 3.0
"""Time to measure the floor in each round: matrix products at the machine's peak rate."""


class OurSystem:
    """Embedded Redis and S3 and one `rmbg-worker` with default settings."""

    def __init__(self, folder: Path, weights: Path, device: str) -> None:
        self._folder = folder
        self._settings = {
            "PATH": os.defpath,
            "HOME": str(Path.home()),
            "RMBG_WEIGHTS": str(weights),
            "RMBG_DEVICE": device,
        }
        self._rounds = 0
        self.closing_s: list[float] = []
        """Seconds from the end of the last image to the end of the job, for each job."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        servers = self._stack.enter_context(EmbeddedServers(self._folder / "servers"))
        env = self._settings | servers.settings()
        self._client = Client.from_env(env)
        log = self._folder / "worker.log"
        self._worker = self._stack.enter_context(closing(WorkerProcess(env, MODEL, log)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def upload(self, files: Sequence[Path]) -> None:
        """Upload *files* before a measurement."""
        objects = self._client._services.objects  # noqa: SLF001 - the Python API has no upload
        for file in files:
            objects.put("inbox", file.name, file.read_bytes(), content_type="image/jpeg")

    def run(self, files: Sequence[Path]) -> float:
        """Return the seconds from the submission of a job with *files* to its end."""
        self._rounds += 1
        started_s = time.monotonic()
        job_id = self._client.submit(
            [file.name for file in files],
            rem_mode=MODEL,
            save_prefix=f"round-{self._rounds}",
            pictures=PictureOptions(edges="source"),
        )
        ended_s = 0.0
        while (status := self._client.status(job_id)).state not in TERMINAL_STATES:
            if not ended_s and status.done + status.failed == len(files):
                ended_s = time.monotonic()
            time.sleep(POLL_S)
        seconds = time.monotonic() - started_s
        self.closing_s.append(started_s + seconds - ended_s if ended_s else 0.0)
        if status.done != len(files):
            raise RuntimeError(f"{status.failed} of {len(files)} images: {status.error_classes}")
        return seconds


class Baseline:
    """A process of `benchmarks/baseline.py` with its model loaded."""

    def __init__(
        self, name: str, folder: Path, weights: Path, device: str, env: Mapping[str, str]
    ) -> None:
        self._out = folder / name
        main = Path(__file__).with_name("baseline.py")
        self._process = subprocess.Popen(
            [sys.executable, str(main), name, str(weights), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.defpath, "HOME": str(folder), **env},
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, files: Sequence[Path]) -> float:
        """Return the seconds for *files*, from disk to disk."""
        request = {"files": [str(file) for file in files], "out": str(self._out)}
        if self._process.stdin is None:
            raise RuntimeError("the baseline has no standard input")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the baseline exited with {self._process.wait()}")
        return dict(json.loads(line))


def measure(
    folder: Path,
    weights: Path,
    *,
    device: str,
    products: int,
    copies: int,
    rounds: int,
    side_px: int,
) -> dict[str, Any]:
    """Run all systems in turn, *rounds* times on the products and on the example photographs.

    There are eight examples; *copies* of each make a job.
    """
    made = write_products(folder / "products", products, side_px)
    examples = _examples(folder / "examples", copies)
    sets = {f"products {side_px} x {side_px}": made, "examples": examples}
    full = fp32_copy(weights, folder / "u2net" / "isnet-general-use.onnx")
    rembg_env = {"U2NET_HOME": str(full.parent), "MODEL_CHECKSUM_DISABLED": "1"}
    with (
        OurSystem(folder, weights, device) as ours,
        Baseline(REMBG, folder, full, device, rembg_env) as rembg,
        Baseline(SEED, folder, weights, device, {}) as seed,
    ):
        systems = {OURS: ours.run, REMBG: rembg.run, SEED: seed.run, FLOOR: _floor(device)}
        results = {}
        for name, files in sets.items():
            ours.upload(files)
            results[name] = _in_turn(systems, files, rounds)
            results[name]["closing_s"] = round(statistics.median(ours.closing_s[-rounds:]), 2)
            print(json.dumps({name: results[name]}), flush=True)
    return {"device": device, "rounds": rounds, "sets": results}


def _floor(device: str) -> Callable[[Sequence[Path]], float]:
    """Return a function that measures the seconds that the network's arithmetic alone would take.

    It assumes the current rate of large matrix products in the precision that this system uses.
    """
    dtype, flop = pick_dtype("auto", torch.device(device)), flop_an_image()
    return lambda files: len(files) * flop / matrix_rate(device, dtype, least_s=FLOOR_S)


def _examples(folder: Path, copies: int) -> list[Path]:
    """Copy each example photograph to *folder* under *copies* names."""
    folder.mkdir()
    return [
        Path(shutil.copy(file, folder / f"{number}-{file.name}"))
        for number in range(copies)
        for file in sorted(EXAMPLES.rglob("*.jpg"))
    ]


def _in_turn(
    systems: Mapping[str, Callable[[Sequence[Path]], float]], files: Sequence[Path], rounds: int
) -> dict[str, Any]:
    for run in systems.values():
        run(files[:2])  # warm-up: caches are cold, and a worker may still be loading its model
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            speeds[name].append(len(files) / run(files))
    ratios = {
        name: [mine / other for mine, other in zip(speeds[OURS], speeds[name], strict=True)]
        for name in systems
        if name != OURS
    }
    return {
        "images": len(files),
        "mean_bytes": round(statistics.mean(file.stat().st_size for file in files)),
        "images_per_s": {name: _spread(values) for name, values in speeds.items()},
        "times_as_fast_as": {name: _spread(values) for name, values in ratios.items()},
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def fp32_copy(source: Path, target: Path) -> Path:
    """Write the fp16 ONNX file *source* with the same weights in fp32, which rembg needs."""
    model = onnx.load(source)
    graph = model.graph
    for initialiser in graph.initializer:
        if initialiser.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(initialiser).astype("float32")
            initialiser.CopyFrom(numpy_helper.from_array(values, initialiser.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            elif attribute.t.data_type == TensorProto.FLOAT16:
                values = numpy_helper.to_array(attribute.t).astype("float32")
                attribute.t.CopyFrom(numpy_helper.from_array(values))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)
    return target
