"""Measure a job's report in Chromium: size, time until it shows its list, time to filter.

    python -m benchmarks.report_page [--images 100000] [--rounds 5] [--screenshots FOLDER]

Needs a `chromium` on the PATH. Opening ends with the first frame after the list has rows; a filter
ends with the first frame after the count of images has changed. Previews are those of the
benchmarks' synthetic products, as many as a page holds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from support.chromium import Chromium
from support.report_page import page_of

from benchmarks.products import product
from shared.job.record import ItemRecord, OutputFacts
from worker.consumer.report.previews import MAX_BYTES, MAX_EMBEDDED
from worker.imaging.compose import compose
from worker.imaging.preview import preview
from worker.imaging.types import NO_METADATA, SourceImage

SHOWN: Final = "document.querySelector('#images:not([hidden]) .row')"
COUNT: Final = "document.getElementById('count').textContent"
FILTERS: Final = {
    "text": "const e = document.getElementById('text'); e.value = '/0090/';"
    "e.dispatchEvent(new Event('input', {bubbles: true}))",
    "verdict": "const e = document.getElementById('state'); e.value = [...e.options].find("
    "(each) => each.textContent.startsWith('review')).value;"
    "e.dispatchEvent(new Event('input', {bubbles: true}))",
    "none": "const e = document.getElementById('text'); e.value = '';"
    "e.dispatchEvent(new Event('input', {bubbles: true}))",
}
NEXT_FRAME: Final = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"


def records(images: int) -> Iterator[ItemRecord]:
    """Yield records of two outputs each: 1 % failed, 4 % to review, 2 % with a failed check."""
    rng = random.Random(1)
    for n in range(images):
        draw, key = rng.random(), f"catalogue/2026/{n // 1000:04}/product-{n:07}.jpg"
        if draw < 0.01:
            error = {"class": "DecodeError", "reason": f"{key}: the file is truncated"}
            yield ItemRecord(index=n, image_key=key, state="failed", error=error)
            continue
        failed = {"white_background": (rng.randrange(1, 999), 0)} if draw > 0.98 else {}
        shop = OutputFacts(verdict="review" if failed else "ok", failed=failed)
        qc = {
            "verdict": "review" if draw < 0.05 else "ok",
            "uncertainty": round(rng.random(), 4),
            "coverage": round(rng.random(), 4),
        }
        size = {"width": rng.randrange(800, 4000), "height": rng.randrange(800, 4000)}
        outputs = {"shop": shop, "thumbnail": OutputFacts(verdict="ok")}
        yield ItemRecord(index=n, image_key=key, state="done", qc=qc, outputs=outputs, **size)


def previews(images: int) -> dict[int, bytes]:
    """Return previews of the first images, up to both limits of a page."""
    made = []
    for number in range(8):
        pixels = product(number, 1000)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[150:850, 200:800] = 255
        source = SourceImage(pixels=pixels, alpha=None, metadata=NO_METADATA)
        made.append(preview(source, compose(pixels, mask)))
    count = min(images, MAX_EMBEDDED, MAX_BYTES // max(map(len, made)))
    return {n: made[n % len(made)] for n in range(count)}


def measure(tab: Chromium, url: str) -> dict[str, float]:
    """Open *url* once and use each filter; return the times in seconds."""
    tab.open("about:blank")
    started_s = time.perf_counter()
    tab.open(url)
    tab.until(SHOWN)
    times_s = {"open": time.perf_counter() - started_s}
    for name, change in FILTERS.items():
        wait = f"while ({COUNT} === before) {NEXT_FRAME}"
        script = f"const before = {COUNT}, start = performance.now(); {change}; {wait}"
        taken_ms = tab.js(f"(async () => {{ {script} return performance.now() - start; }})()")
        times_s[f"filter {name}"] = taken_ms / 1000
    return times_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--screenshots", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        page = page_of(records(given.images), previews=previews(given.images), total=given.images)
        path.write_text(page)
        tab = Chromium(Path(folder) / "profile")
        rounds = [measure(tab, path.as_uri()) for _ in range(given.rounds)]
        for scheme in ("light", "dark") if given.screenshots else ():
            tab.screenshot(given.screenshots / f"report-{scheme}.png", scheme=scheme)
        tab.close()
    result = {"images": given.images, "bytes": len(page.encode())}
    for name in rounds[0]:
        values = sorted(each[name] for each in rounds)
        result[f"{name}_s"] = {
            "median": round(statistics.median(values), 3),
            "worst": round(values[-1], 3),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
