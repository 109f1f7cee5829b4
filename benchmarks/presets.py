"""Measure every check of every preset over photographs, and write `docs/presets.md`.

    python benchmarks/presets.py --masks FOLDER --photos FOLDER [--outputs FOLDER]

Make the masks with `rmbg run PHOTOS OUT --rem-mode isnet-general-use --output mask`. A photograph
is `{name}.jpg` and its mask `{name}.jpg.png`; `tests/presets/feasible.json` has the names.
The public photographs are not in the repository: the table names where each is. Photographs
without a mask are left out.

With --outputs, all images that comply are written there, a folder a preset, as
`tests/presets/independent_check.py` reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from PIL import Image
from presets_page import Measured, page

from shared.recipes import presets
from worker.imaging.compliance import check
from worker.imaging.outputs import context_of, make_output
from worker.imaging.render import RenderSource, draw, edge_colours
from worker.imaging.types import NO_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


ROOT: Final = Path(__file__).parents[1]
LABELS: Final = ROOT / "tests/presets/feasible.json"
PAGE: Final = ROOT / "docs/presets.md"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--outputs", type=Path)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    labels = json.loads(LABELS.read_text())["photos"]
    measured = [
        each
        for photo, label in labels.items()
        if (asked.masks / f"{photo}.jpg.png").exists()
        for each in _measure(photo, label, asked)
    ]
    PAGE.write_text(page(measured, labels))
    feasible = [each for each in measured if each.is_feasible]
    complying = sum(each.verdict == "ok" for each in feasible)
    print(f"{len(measured)} images; of {len(feasible)} feasible ones {complying} comply")


def _measure(photo: str, label: Mapping[str, Any], asked: argparse.Namespace) -> Iterator[Measured]:
    source = _source(asked.photos / f"{photo}.jpg", asked.masks / f"{photo}.jpg.png")
    for name in presets.names():
        recipe = presets.get(name)
        made = make_output(recipe, source, NO_METADATA)
        data = made.files[0]
        if asked.outputs and made.facts.verdict == "ok":
            folder = asked.outputs / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{photo}.{recipe.format}").write_bytes(data)
        findings = check(data, recipe.checks, context_of(recipe, draw(source, recipe)))
        size = f"{made.facts.width}x{made.facts.height}"
        is_feasible = name in label["feasible"]
        yield Measured(photo, name, is_feasible, made.facts.verdict, size, findings)


def _source(photo: Path, mask: Path) -> RenderSource:
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    alpha = np.asarray(Image.open(mask).convert("L"))
    return RenderSource(pixels, edge_colours(pixels, alpha), alpha)


if __name__ == "__main__":
    main()
