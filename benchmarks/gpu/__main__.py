"""Run the checks, each in a process of its own with a time limit, and print a line per result.

    python -m benchmarks.gpu [PART ...]     DEV=cpu: tiny sizes, without a GPU
    OUT=out/gpu                             folder of results.jsonl, log and random weights

Exits with 1 if a check failed, ran out of time or exceeded a limit (`"ok": false`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = Path(os.environ.get("OUT", "out/gpu"))  # noqa: TID251 - a benchmark's own variable
IS_CUDA: Final = os.environ.get("DEV", "cuda") != "cpu"  # noqa: TID251
PARTS: Final[dict[str, dict[str, float]]] = {
    "facts": {"facts": 60, "weights": 60},
    "masks": {"masks": 120},
    "network": {"network-eager": 60, "network-benchmark": 90, "network-fused": 90,
                "network-graph": 60, "network-fused+graph": 90},
    "faults": {"out-of-memory": 60, "poisoned-image": 60, "lost-device": 60, "hidden-device": 60},
    "engine": {"engine-source-eager": 90, "engine-source": 90, "engine-estimate": 90},
    "in-flight": {"in-flight": 60},
    "device": {"on-device": 60, "pixels": 90, "launches-eager": 60,
               "launches-fused": 60, "launches-graph": 60},
    "profile": {"profile": 60},
    "compile": {"network-compile": 240},
    "tensorrt": {"network-export": 90, "network-tensorrt": 900, "launches-tensorrt": 300},
}  # fmt: skip
"""Checks by part, with their time limits in seconds; the most valuable parts come first."""
CPU_TIMES: Final = 5
"""With `DEV=cpu`, limits are this many times as long: they are meant for a GPU, which is rented."""
WITHOUT_GPU: Final = frozenset({
    "facts", "weights", "masks", "network-eager", "poisoned-image", "hidden-device",
    "engine-source", "engine-estimate", "in-flight", "on-device", "pixels", "launches-eager",
    "launches-fused", "profile", "network-export",
})  # fmt: skip
"""Checks that `DEV=cpu` can run."""


def main() -> int:
    """Run the parts named as arguments, or all; return the exit code."""
    asked = sys.argv[1:] or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        print(f"unknown part {', '.join(unknown)}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    failed = False
    with (OUT / "results.jsonl").open("a") as results:
        for part in asked:
            for check, limit_s in PARTS[part].items():
                if IS_CUDA or check in WITHOUT_GPU:
                    times = 1 if IS_CUDA else CPU_TIMES
                    within = [_tell(line, results) for line in _run(check, times * limit_s)]
                    failed |= not all(within)
    return int(failed)


def _run(check: str, limit_s: float) -> Iterator[str]:
    """Run one check; yield its lines, then one with its exit status and seconds."""
    begun_s = time.monotonic()
    args = [sys.executable, "-m", "benchmarks.gpu.checks", check]
    with (OUT / "log").open("a") as log:
        process = subprocess.Popen(
            ["timeout", "-k", "10", str(limit_s), *args],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        yield from (line.strip() for line in process.stdout if line.startswith("{"))
        code = process.wait()
    took_s = round(time.monotonic() - begun_s, 1)
    yield json.dumps({"step": check, "rc": code, "seconds": took_s, "ok": code == 0})


def _tell(line: str, results: IO[str]) -> bool:
    """Print a line and keep it; return whether it is within its limit."""
    print(line, flush=True)
    results.write(f"{line}\n")
    results.flush()
    return bool(json.loads(line).get("ok", True))


if __name__ == "__main__":
    sys.exit(main())
