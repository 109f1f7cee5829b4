"""One other way to do the work, in a process of its own: `rembg` or the seed's loop.

    python benchmarks/contestant.py rembg|seed WEIGHTS DEVICE

Loads its model once, then reads orders as JSON lines, `{"files": [...], "out": "folder"}`, and
answers each with `{"seconds": ...}`: from files on disk to PNG cutouts on disk.
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

Way: TypeAlias = Callable[[Path, Path], None]
"""From a picture's file to its cutout's."""
REMBG_MODEL: Final = "isnet-general-use"


def rembg_way(_weights: Path, _device: str) -> Way:
    """Return rembg as its documentation shows it: one session, bytes in, PNG bytes out.

    It finds the weights in its own cache (`U2NET_HOME`) and chooses the device itself.
    """
    from rembg import new_session, remove  # noqa: PLC0415 - not where the other way is run

    session = new_session(REMBG_MODEL)

    def work(source: Path, target: Path) -> None:
        cutout = remove(source.read_bytes(), session=session)
        if not isinstance(cutout, bytes):
            raise TypeError("bytes in, bytes out")
        target.write_bytes(cutout)

    return work


def seed_way(weights: Path, device: str) -> Way:
    """Return the ComfyUI node's steps, with the one change that its model stays loaded."""
    from benchmarks.seed import SeedLoop  # noqa: PLC0415 - torch only where it is used

    return SeedLoop(weights, device).work


def main(name: str, weights: Path, device: str) -> None:
    work = {"rembg": rembg_way, "seed": seed_way}[name](weights, device)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        out = Path(order["out"])
        out.mkdir(parents=True, exist_ok=True)
        begun_s = time.monotonic()
        for file in map(Path, order["files"]):
            work(file, out / f"{file.stem}.png")
        print(json.dumps({"seconds": time.monotonic() - begun_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
