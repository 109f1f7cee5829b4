"""Compare the masks of model cards with those of rembg's own sessions, card by card.

    python -m benchmarks.models_like_rembg --rembg PYTHON IMAGE...

PYTHON is that of an environment with rembg, which runs alone in a process. `isnet-general-use` has
its real weights, in a card of rembg's arithmetic; every other card has a made network of the same
signature. Prints a table of the differences, of 255. Needs `tests` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image
from support.onnx_models import made_model

from shared.models import weights
from shared.models.card import Card
from shared.models.registry import REGISTRY, get
from shared.settings import ServiceSettings
from worker.inference.architectures.onnx.network import Network
from worker.inference.architectures.onnx.segmenter import OnnxSegmenter
from worker.inference.architectures.onnx.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL: Final = "isnet-general-use"
SCRIPT: Final = Path(__file__).with_name("rembg_masks.py")


def cards(folder: Path) -> Iterator[tuple[Card, Path, str]]:
    """Yield cards of rembg's arithmetic, each with a model and what that model is."""
    like = get("isnet-anime")
    real = weights.pull(get(REAL), ServiceSettings.from_env({}).home)
    halves = like.input.model_copy(update={"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)})
    yield like.model_copy(update={"name": REAL, "input": halves}), real, "real weights"
    for card in REGISTRY.values():
        if card.input.scale == "maximum":
            path = folder / f"{card.name}.onnx"
            yield card, made_model(path, card.input.side_px), "made network"


def masks(card: Card, path: Path, images: list[Path]) -> list[np.ndarray]:
    """Return our masks of *images*, one at a time as a worker on a CPU makes them."""
    network = Network(open_session(path, torch.device("cpu"), threads=2), card)
    segmenter = OnnxSegmenter(network, card, device="cpu", weights_sha256="", batch_size=1)
    found = []
    for image in images:
        with Image.open(image) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        [output] = segmenter.forward([segmenter.prepare(pixels)])
        found.append(segmenter.finish(output, *pixels.shape[:2], stretch="seed").mask)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rembg", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("images", type=Path, nargs="+")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(cards(folder))
        listed = folder / "models.json"
        listed.write_text(json.dumps({card.name: str(path) for card, path, _ in found}))
        command = [given.rembg, SCRIPT, listed, folder, *given.images]
        subprocess.run(command, check=True)
        print("| model | what | mean difference | greatest |\n|---|---|---|---|")
        for card, path, what in found:
            apart = [
                np.abs(
                    ours.astype(int)
                    - np.asarray(Image.open(folder / f"{card.name}-{image.stem}.png"))
                )
                for ours, image in zip(masks(card, path, given.images), given.images, strict=True)
            ]
            mean, most = np.mean([each.mean() for each in apart]), max(map(np.max, apart))
            print(f"| `{card.name}` | {what} | {mean:.4f} | {most} |")


if __name__ == "__main__":
    main()
