"""Run `rmbg run` on fifty photographs of mixed sizes and formats and one text file named .jpg.

    python benchmarks/mixed_folder.py OUT_DIR

Prints one JSON line with the images done and failed, the exit code, the peak memory of each process
and the processes left behind.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
COUNT = 50
LARGEST_PX = (6000, 4000)
FORMATS = ((".jpg", {"quality": 92}), (".png", {"compress_level": 1}), (".webp", {"quality": 90}))
POLL_S = 0.1


def make_folder(root: Path) -> None:
    """Write the photographs: the examples, scaled up step by step to 24 megapixels."""
    sources = sorted(PHOTOS.rglob("*.jpg"))
    for n in range(COUNT):
        with Image.open(sources[n % len(sources)]) as image:
            share = n / (COUNT - 1)
            width = round(image.width + share**2 * (LARGEST_PX[0] - image.width))
            height = min(LARGEST_PX[1], round(width * image.height / image.width))
            scaled = image.resize((width, height), Image.Resampling.BICUBIC)
        suffix, options = FORMATS[n % 7 % len(FORMATS)]
        path = root / f"{n % 5}" / f"photo-{n:02}{suffix}"
        path.parent.mkdir(exist_ok=True)
        scaled.save(path, **options)
    (root / "notes.jpg").write_text("These are notes, not an image.\n")


def run(folder: Path, out: Path) -> dict[str, object]:
    """Run the command and sample the memory of its processes."""
    command = [str(Path(sys.executable).with_name("rmbg")), "run", str(folder), str(out)]
    started_s = time.monotonic()
    process = psutil.Popen([*command, "--rem-mode", "isnet-general-use"])
    peak_bytes: dict[str, int] = {}
    seen: set[int] = set()
    while process.poll() is None:
        for child in _children(process):
            seen.add(child.pid)
            _note_peak(child, peak_bytes)
        time.sleep(POLL_S)
    left = [pid for pid in seen if psutil.pid_exists(pid)]
    records = [json.loads(line) for line in (out / "results.jsonl").open()]
    return {
        "exit": process.returncode,
        "done": sum(record["state"] == "done" for record in records),
        "failed": {r["image_key"]: r["error"] for r in records if r["state"] == "failed"},
        "megapixels": round(sum((r["width"] or 0) * (r["height"] or 0) for r in records) / 1e6),
        "seconds": round(time.monotonic() - started_s, 1),
        "peak_mib": {name: round(peak / 2**20) for name, peak in peak_bytes.items()},
        "processes_left": left,
    }


def _children(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _note_peak(child: psutil.Process, peak_bytes: dict[str, int]) -> None:
    try:
        command, rss_bytes = " ".join(child.cmdline()), child.memory_info().rss
    except psutil.Error:
        return
    for name in ("reaper", "valkey", "weed", "rmbg-worker", "spawn"):
        if name in command:
            peak_bytes[name] = max(peak_bytes.get(name, 0), rss_bytes)
            return


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        make_folder(Path(scratch))
        print(json.dumps(run(Path(scratch), Path(sys.argv[1]))))
