"""CPU time of PNG encoding, compared with Pillow, and of each step from mask to file.

Run ``python benchmarks/codecs.py``. Images are 2000 x 2000. All variants are measured in turn,
round after round, on one thread, so that other load affects all of them alike; the figures are
medians of CPU time. Writes ``benchmarks/results/codecs.json`` and prints tables.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.photographs import enlarged  # noqa: E402 - needs the path set above

from worker.imaging.compose import combine, compose  # noqa: E402
from worker.imaging.encode.png import encode_png  # noqa: E402
from worker.imaging.quality import measure  # noqa: E402
from worker.imaging.verdict import judge  # noqa: E402

SIDE_PX = 2000
PILLOW_LEVELS = (0, 1, 4, 6, 9)


def outline() -> np.ndarray:
    """Return a mask of a wavy disc with an edge about 12 pixels wide; 1.7 % of it is soft."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32) - SIDE_PX / 2
    radius = np.hypot(x, 0.8 * y) + 40 * np.sin(9 * np.arctan2(y, x))
    return np.clip((780 - radius) * 255 / 12 + 128, 0, 255).astype(np.uint8)


def through_jpeg(image: np.ndarray) -> np.ndarray:
    """Return *image* after a round trip through JPEG, like every real input."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return np.array(Image.open(file))


def product() -> np.ndarray:
    """Return a synthetic studio photo: smooth shading, large print, little grain."""
    rng = np.random.default_rng(0)
    shade = np.cos((np.mgrid[:SIDE_PX, :SIDE_PX][1] - 900) / 700)[..., None]
    image = 120 + 80 * shade * [1, 0.8, 0.6] + rng.normal(0, 1, (SIDE_PX, SIDE_PX, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    cv2.putText(image, "PRODUCT", (400, 1000), cv2.FONT_HERSHEY_SIMPLEX, 8, (250, 250, 250), 30)
    return through_jpeg(image)


def photo(name: str) -> np.ndarray:
    """Return a bundled photograph, enlarged and with the grain of a camera."""
    image = enlarged(name, SIDE_PX, SIDE_PX)
    grain = np.random.default_rng(1).normal(0, 2, image.shape)
    return through_jpeg(np.clip(image + grain, 0, 255).astype(np.uint8))


def encode_with_pillow(pixels: np.ndarray, level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    return file.getvalue()


def interleaved(
    variants: dict[str, Callable[[], object]], rounds: int
) -> dict[str, dict[str, float]]:
    """Run every variant once per round; return median milliseconds, and bytes where returned."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for name, variant in variants.items():
            started_s = time.process_time()
            result = variant()
            times[name].append((time.process_time() - started_s) * 1000)
            if isinstance(result, bytes):
                sizes[name] = len(result)
    return {
        name: {"ms": round(statistics.median(values), 1)}
        | ({"bytes": sizes[name]} if name in sizes else {})
        for name, values in times.items()
    }


def png_variants(pixels: np.ndarray) -> dict[str, Callable[[], bytes]]:
    variants: dict[str, Callable[[], bytes]] = {
        level: lambda level=level: encode_png(pixels, texts={}, level=level)
        for level in ("fast", "small")
    }
    for level in PILLOW_LEVELS:
        variants[f"Pillow {level}"] = lambda level=level: encode_with_pillow(pixels, level)
    return variants


def step_variants(image: np.ndarray, mask: np.ndarray) -> dict[str, Callable[[], object]]:
    return {
        "compose source": lambda: compose(image, mask),
        "compose seed": lambda: compose(image, mask, edges="seed"),
        "compose estimate": lambda: compose(image, mask, edges="estimate"),
        "combine with own alpha": lambda: combine(mask, mask),
        "measure and judge": lambda: judge(measure(mask)),
    }


def threaded_speedup(pixels: np.ndarray, files: int = 8) -> float:
    """Return the speed-up of two threads over one when writing *files* files, in wall time."""

    def write(count: int) -> None:
        for _ in range(count):
            encode_png(pixels, texts={}, level="fast")

    seconds = []
    for threads in (1, 2):
        writers = [threading.Thread(target=write, args=(files // threads,)) for _ in range(threads)]
        started_s = time.perf_counter()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        seconds.append(time.perf_counter() - started_s)
    return round(seconds[0] / seconds[1], 2)


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    base = rows.get("Pillow 6")
    print(f"\n{title}")
    for name, row in rows.items():
        line = f"  {name:<24}{row['ms']:>9.1f} ms"
        if "bytes" in row:
            line += f"{row['bytes']:>11,} bytes"
        if base:
            line += f"{base['ms'] / row['ms']:>8.1f} x the speed"
            line += f"{row['bytes'] / base['bytes']:>8.3f} x the size of Pillow 6"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/codecs.json")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    mask = outline()
    images = {"product": product(), "flower": photo("flower"), "coffee": photo("coffee")}
    outputs = {name: compose(image, mask) for name, image in images.items()} | {"mask": mask}
    results: dict[str, object] = {"side_px": SIDE_PX, "rounds": options.rounds}
    png = results["png"] = {}
    for name, pixels in outputs.items():
        png[name] = interleaved(png_variants(pixels), options.rounds)
        print_table(f"PNG of {name}", png[name])
    steps = results["steps"] = interleaved(
        step_variants(images["flower"], mask), 3 * options.rounds
    )
    print_table("Steps, flower", steps)
    speedup = max(threaded_speedup(outputs["flower"]) for _ in range(options.rounds))
    results["two_threads_speedup"] = speedup
    print(f"\nSpeed-up of two threads over one: {speedup} (best round; needs two idle cores)")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
