"""Run a baseline in its own process: `rembg` or the loop of the original ComfyUI node.

    python benchmarks/baseline.py rembg|seed WEIGHTS DEVICE

Loads its model once, then reads requests as JSON lines, `{"files": [...], "out": "folder"}`, and
answers each with `{"seconds": ...}`: the time from files on disk to PNG cutouts on disk.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

RemoveBackground: TypeAlias = Callable[[Path, Path], None]
"""Read an image file and write its cutout to another file."""
REMBG_MODEL: Final = "isnet-general-use"


def rembg(_weights: Path, _device: str) -> RemoveBackground:
    """Return rembg as in its documentation: one session, bytes in, PNG bytes out.

    rembg finds the weights in its own cache (`U2NET_HOME`) and chooses the device itself.
    """
    from rembg import new_session, remove  # noqa: PLC0415 - only where it is used

    session = new_session(REMBG_MODEL)

    def remove_background(source: Path, target: Path) -> None:
        cutout = remove(source.read_bytes(), session=session)
        if not isinstance(cutout, bytes):
            raise TypeError(f"rembg returned {type(cutout).__name__} instead of bytes")
        target.write_bytes(cutout)

    return remove_background


def seed(weights: Path, device: str) -> RemoveBackground:
    """Return the loop of the ComfyUI node, with the one change that its model stays loaded."""
    from benchmarks.seed import SeedLoop  # noqa: PLC0415 - imports torch

    return SeedLoop(weights, device).remove_background


def main(name: str, weights: Path, device: str) -> None:
    remove_background = {"rembg": rembg, "seed": seed}[name](weights, device)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        out = Path(request["out"])
        out.mkdir(parents=True, exist_ok=True)
        started_s = time.monotonic()
        for file in map(Path, request["files"]):
            remove_background(file, out / f"{file.stem}.png")
        print(json.dumps({"seconds": time.monotonic() - started_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
