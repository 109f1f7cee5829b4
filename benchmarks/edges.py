"""Colours at soft edges: error against known layers, and comparison images of the edge options.

Run ``python benchmarks/edges.py`` for the table (``benchmarks/results/edges.json``), and with
``--pictures`` to render ``docs/pictures/edges-*.png`` too. That needs the open IS-Net weights,
which are downloaded if they are not in the cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from pymatting import estimate_foreground_ml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.layers import Layered, layered_images  # noqa: E402 - needs the path set above
from support.photographs import photograph  # noqa: E402
from support.weights import isnet_weights  # noqa: E402

from worker.imaging import foreground as edges  # noqa: E402
from worker.imaging import layers  # noqa: E402
from worker.imaging.compose import compose  # noqa: E402
from worker.imaging.encode.png import encode_png  # noqa: E402

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": (0, 255, 0)}
COLUMNS = ("seed", "source", "estimate")
ROWS = ((255, 255, 255), (20, 60, 160))
PHOTOGRAPHS = {"astronaut": (205, 10), "flower": (310, 95)}
"""Names of photographs, and left and top of the part that is shown."""
PART_PX, ZOOM, GAP_PX, TITLE_PX = 100, 3, 6, 24


def blur_fusion(layered: Layered, radii: tuple[int, ...] = (90, 6)) -> np.ndarray:
    """Return the foreground colours of the published Blur-Fusion method, 0..255."""
    image, alpha = layered.image / np.float32(255), layered.alpha[..., None] / np.float32(255)
    fore = back = image
    for radius in radii:
        weight = box(alpha, radius)[..., None]
        fore_mean = box(fore * alpha, radius) / (weight + 1e-5)
        back = box(back * (1 - alpha), radius) / (1 - weight + 1e-5)
        fore = np.clip(fore_mean + alpha * (image - alpha * fore_mean - (1 - alpha) * back), 0, 1)
    return fore * 255


def box(layer: np.ndarray, radius: int) -> np.ndarray:
    return cv2.blur(layer, (2 * radius + 1, 2 * radius + 1))


def pymatting(layered: Layered) -> np.ndarray:
    return estimate_foreground_ml(layered.image / 255, layered.alpha / 255) * 255


METHODS = {
    "source": lambda layered: layered.image,
    "estimate": lambda layered: edges.foreground(layered.image, layered.alpha),
    "Blur-Fusion 90, 6": blur_fusion,
    "pymatting": pymatting,
}


def measure() -> dict[str, dict[str, float]]:
    """Return the mean error inside the soft edge per image and method; print it as a table."""
    table = {}
    print(f"{'mean edge error, 0..255':<32}" + "".join(f"{name:>19}" for name in METHODS))
    for layered in layered_images():
        row = {}
        for name, method in METHODS.items():
            colours = method(layered)
            errors = [layered.edge_error(colours, colour) for colour in BACKGROUNDS.values()]
            row[name] = round(float(np.mean(errors)), 2)
        table[layered.name] = row
        print(f"{layered.name:<32}" + "".join(f"{row[name]:>19.2f}" for name in METHODS))
    mean = {
        name: round(float(np.mean([row[name] for row in table.values()])), 2) for name in METHODS
    }
    print(f"{'mean':<32}" + "".join(f"{mean[name]:>19.2f}" for name in METHODS))
    return table | {"mean": mean}


def cost_by_softness() -> dict[str, float]:
    """Return the CPU time for 2000 x 2000 in milliseconds, by share of soft pixels."""
    y, x = np.mgrid[:2000, :2000].astype(np.float32) - 1000
    image = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    costs = {}
    for edge_px in (4, 12, 40, 200, 600):
        alpha = np.clip((700 - np.hypot(x, y)) / edge_px + 0.5, 0, 1)
        mask = np.rint(alpha * 255).astype(np.uint8)
        soft = ((mask > layers.CLEAR) & (mask < layers.SOLID)).mean()
        times_ms = []
        for _ in range(7):
            started_s = time.process_time()
            edges.foreground(image, mask)
            times_ms.append((time.process_time() - started_s) * 1000)
        costs[f"{soft:.3f}"] = round(sorted(times_ms)[3], 1)
        print(f"soft share {soft:.3f}: {costs[f'{soft:.3f}']:.1f} ms")
    return costs


def panel(image: np.ndarray, mask: np.ndarray, left: int, top: int) -> np.ndarray:
    """Return an enlarged part of the three cutouts on two backgrounds, with titles."""
    part = np.s_[top : top + PART_PX, left : left + PART_PX]
    side = PART_PX * ZOOM
    width = len(COLUMNS) * (side + GAP_PX) - GAP_PX
    sheet = np.full((TITLE_PX + len(ROWS) * (side + GAP_PX) - GAP_PX, width, 3), 240, np.uint8)
    for column, kind in enumerate(COLUMNS):
        x = column * (side + GAP_PX)
        cv2.putText(
            sheet, kind, (x + 4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
        cutout = compose(image, mask, edges=kind)[part].astype(np.float32)
        alpha = cutout[..., 3:] / 255
        for row, background in enumerate(ROWS):
            y = TITLE_PX + row * (side + GAP_PX)
            flat = np.rint(alpha * cutout[..., :3] + (1 - alpha) * np.array(background, np.float32))
            shown = flat.astype(np.uint8).repeat(ZOOM, 0).repeat(ZOOM, 1)
            sheet[y : y + side, x : x + side] = shown
    return sheet


def render() -> None:
    """Write the panels of two synthetic images and of the photographs."""
    from worker.inference.segmenter import Segmenter  # noqa: PLC0415 - imports torch

    panels = {}
    made = {layered.name: layered for layered in layered_images()}
    for name, chosen in (("hair", "hair: grain on stripes"), ("made", "crisp: gradient on plain")):
        panels[name] = panel(made[chosen].image, made[chosen].alpha, 90, 100)
    segmenter = Segmenter.load(isnet_weights(), device="cpu", precision="fp32")
    for name, corner in PHOTOGRAPHS.items():
        image = photograph(name)
        (output,) = segmenter.forward([segmenter.prepare(image)])
        mask = segmenter.finish(output, *image.shape[:2], stretch="guarded").mask
        panels[name] = panel(image, mask, *corner)
    folder = ROOT / "docs/pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in panels.items():
        file = folder / f"edges-{name}.png"
        file.write_bytes(encode_png(np.ascontiguousarray(sheet), texts={}, level="small"))
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="also render docs/pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/edges.json")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    results = {"edge_error": measure(), "ms_by_soft_share": cost_by_softness()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.pictures:
        render()


if __name__ == "__main__":
    main()
