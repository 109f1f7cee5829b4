"""Items by outputs, in this process: CPU time of the render stage, peak memory of an item.

`python -m benchmarks.output_items CASE SOURCE MASK` prints the peak of one item in MiB, beyond what
the process holds before; it needs a process of its own.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import cv2
import numpy as np
import psutil

from benchmarks.products import jpeg, product
from benchmarks.stand_ins import SleepingSegmenter, model_of
from shared.job.options import PictureOptions
from shared.job.outputs import RecipeOutput
from shared.job.spec import JobSpec
from shared.recipes import Recipe, presets
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import GivenMask, Inferred
from worker.engine.render import Render
from worker.engine.shared_masks import SharedMasks
from worker.imaging.decode import DecodedImage
from worker.imaging.operations import ImageOperations
from worker.imaging.render import RenderSource
from worker.imaging.types import NO_METADATA, Mask, SourceImage
from worker.runtime.malloc import keep_memory
from worker.storage import NOTHING

WHITE: Final = Recipe(name="white", format="jpg", background="white")
FIVE: Final = (
    WHITE,
    *(
        presets.get(name).model_copy(update={"name": name})
        for name in ("amazon-main", "otto", "shopify", "walmart")
    ),
)
SHADOW: Final = Recipe.model_validate(
    {"name": "shadow", "format": "jpg", "size": 2000, "background": "white", "shadow": "soft"}
)
ONE, MANY, TODAY, MASK_ONLY = "mask, 1 JPEG", "mask, 5 JPEGs", "mask, cutout", "mask"
CASES: Final[Mapping[str, tuple[Recipe, ...]]] = {
    MASK_ONLY: (),
    TODAY: (),
    ONE: (WHITE,),
    MANY: FIVE,
}
"""Outputs of recipes, by case; only `TODAY` has a cutout, and it is the default of a job."""
RATIOS: Final = ((MANY, ONE), (ONE, TODAY))


class Items:
    """Runs the render stage as an engine does."""

    def __init__(self) -> None:
        self.imaging = ImageOperations(max_pixels=10**8, max_bytes=10**8, children=1)
        self._stage = Render(self.imaging, "0", SharedMasks(0))
        self._model = model_of(SleepingSegmenter(), "isnet-general-use")

    def decode(self, data: bytes) -> DecodedImage:
        return self.imaging.decode(data, PictureOptions(), isolate=False)

    def render(self, image: SourceImage, mask: Mask, case: str) -> None:
        spec = JobSpec(
            input_bucket="inbox",
            output_bucket="cutouts",
            weights_sha256="0" * 64,
            has_cutout=case == TODAY,
            outputs=tuple(RecipeOutput(name=each.name, recipe=each) for each in CASES[case]),
        )
        request = ItemRequest(
            job_id="j", sequence=1, spec=spec, index=0, image_key="a.jpg", model=self._model
        )
        inferred = Inferred(NOTHING, image, (), GivenMask(mask, "stored"))
        self._stage.run(Item(request, SimpleQueue(), 0, 0.0), inferred)


def cpu_ms(sources: Sequence[tuple[bytes, Mask]], rounds: int) -> dict[str, Any]:
    """Return the CPU time of one more output, and of the render stage by case."""
    items = Items()
    outputs: dict[str, list[float]] = {}
    stages: dict[str, list[float]] = {}
    for data, mask in sources:
        decoded = items.decode(data)
        image = SourceImage(decoded.image, None, decoded.metadata)
        colours = items.imaging.colours(image.pixels, mask)
        drawn_from = RenderSource(image.pixels, colours, mask)
        for _ in range(rounds):
            for recipe in (*FIVE, SHADOW):
                started_s = time.process_time()
                items.imaging.make_output(recipe, drawn_from, NO_METADATA)
                _note(outputs, recipe.name, started_s)
            for case in CASES:
                started_s = time.process_time()
                items.render(image, mask, case)
                _note(stages, case, started_s)
    return {
        "one_more_output_ms": {
            name: round(statistics.median(ms), 1) for name, ms in outputs.items()
        },
        "render_stage_ms": {name: round(statistics.median(ms), 1) for name, ms in stages.items()},
        "ratios": {
            f"{above} to {below}": _ratio(stages[above], stages[below]) for above, below in RATIOS
        },
    }


def _note(times: dict[str, list[float]], name: str, started_s: float) -> None:
    times.setdefault(name, []).append(1000 * (time.process_time() - started_s))


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 2)


def main() -> None:
    """Print the peak memory of an item in MiB."""
    case, source, mask_file = sys.argv[1:]
    cv2.setNumThreads(1)
    keep_memory({})
    items = Items()
    small = items.decode(jpeg(product(0, 64)))  # loads what is loaded on demand
    items.render(SourceImage(small.image), np.full((64, 64), 255, np.uint8), case)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not to serve the item
    before = psutil.Process().memory_info().rss
    items.render(
        SourceImage(items.decode(Path(source).read_bytes()).image), np.load(mask_file), case
    )
    print(round((_peak_bytes() - before) / 2**20, 1))


def _peak_bytes() -> int:
    """Return the peak of this program; that of `getrusage` includes the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(each for each in lines if each.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
