"""Run the benchmarks: write JSON, print tables and update `docs/performance.md`.

    python benchmarks/run.py [--only whole,scale,...] [--rounds 5] [--quick]

(a) `whole`, (b) `stages`, (c) `network`, (d) `scale`, (f) `memory`, (g) `outputs`,
(h) `saturation`; with a GPU, the first three run on it as well (e). All of them take about an hour
and a half on two cores, most of it for `scale`. The figures are only meaningful on an otherwise
idle machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.weights import isnet_weights  # noqa: E402 - needs the path set above

from benchmarks import (  # noqa: E402
    machine,
    memory,
    network,
    outputs,
    report,
    saturation,
    scale,
    stages,
    whole,
)
from worker.runtime.malloc import keep_memory  # noqa: E402

Part: TypeAlias = Callable[[Path], Iterable[dict[str, Any]]]
"""Measure in an empty folder and return results; a long part yields intermediate results."""
ON_DEVICES: Final = ("whole", "stages", "network")
QUICK_OUT: Final = ROOT / "out/bench"


def parts_on(device: str, *, quick: bool, rounds: int) -> dict[str, Part]:
    """Return the parts that run on *device*; *rounds* applies to whole jobs, which take minutes."""
    weights = isnet_weights()
    side_px = 400 if quick else 2000
    return {
        "whole": lambda folder: [
            whole.measure(
                folder,
                weights,
                device=device,
                products=2 if quick else 64,
                copies=1 if quick else 8,
                rounds=1 if quick else rounds,
                side_px=side_px,
            )
        ],
        "stages": lambda folder: [
            stages.measure(
                weights,
                folder,
                device=device,
                images=1 if quick else 6,
                rounds=2 if quick else 7,
                side_px=side_px,
            )
        ],
        "network": lambda _folder: [
            network.measure(
                weights,
                device=device,
                rounds=1 if quick else 5,
                batches=(1,) if quick else None,
            )
        ],
    }


def parts_anywhere(*, quick: bool, rounds: int) -> dict[str, Part]:
    """Return the parts that need no GPU."""
    plan = scale.QUICK if quick else scale.FULL

    def measure_scale(folder: Path) -> Iterator[dict[str, Any]]:
        runs = []
        for run in scale.measure(plan, folder):
            runs.append(asdict(run))
            yield {"runs": runs}

    items = 200 if quick else 10_000
    return {
        "scale": measure_scale,
        "memory": lambda folder: [memory.measure(folder, items=items)],
        "saturation": lambda _folder: [saturation.measure(seconds=2 if quick else 20)],
        "outputs": lambda folder: [
            outputs.measure(
                isnet_weights(),
                folder,
                images=2 if quick else 8,
                rounds=1 if quick else rounds,
                side_px=400 if quick else 2000,
            )
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(report.PARTS), help="parts, comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of whole jobs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into out/bench")
    options = parser.parse_args()
    keep_memory({})  # as in a worker; the baselines run in their own processes
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(report.PARTS):
        parser.error(
            f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(report.PARTS)}"
        )
    out = QUICK_OUT if options.quick else report.RESULTS
    parts = parts_on("cpu", quick=options.quick, rounds=options.rounds)
    parts |= parts_anywhere(quick=options.quick, rounds=options.rounds)
    if torch.cuda.is_available():
        on_gpu = parts_on("cuda", quick=options.quick, rounds=options.rounds)
        parts |= {f"{name}-cuda": on_gpu[name] for name in ON_DEVICES}
    else:
        print(f"no CUDA device: {', '.join(ON_DEVICES)} run on the CPU only")
    for name, part in parts.items():
        if name.partition("-")[0] in wanted:
            _measure(name, part, out)
    results = report.load(out)
    print(report.markdown(results))
    if not options.quick:
        report.write_page(results)
        report.plot_results(results)


def _measure(name: str, part: Part, out: Path) -> None:
    facts = machine.facts()
    print(f"{name} ...", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rmbg-bench-") as folder:
        for result in part(Path(folder)):
            text = json.dumps({"facts": facts, "result": result}, indent=2)
            (out / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
