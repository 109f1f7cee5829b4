"""Reproduce rembg's published result for its own test image with our network.

    python benchmarks/rembg_published.py anime-girl-1.jpg anime-girl-1.isnet-general-use.png

Both files are in rembg's repository (`tests/fixtures`, `tests/results`). The image is preprocessed
as in rembg (LANCZOS, divided by its own maximum, minus one half), run through our fp32 network, and
postprocessed as in rembg (min-max, LANCZOS back), so that only the networks differ. The original
node's preprocessing is compared as well. Prints one line of JSON; exits with 1 if the mean
difference is above `MAX_MEAN`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from shared.models import registry as models
from shared.models import weights
from shared.settings import ServiceSettings
from worker.inference.architectures.isnet.fold import build
from worker.inference.architectures.isnet.network import SIDE_PX
from worker.inference.architectures.isnet.tensors import load_state_dict
from worker.inference.segmenter import Segmenter

MAX_MEAN = 0.05
"""Largest mean difference, of 255."""
LANCZOS = Image.Resampling.LANCZOS


def rembg_alpha(network: torch.nn.Module, photo: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the mask of *photo* with rembg's pre- and postprocessing around our network."""
    small = np.array(photo.resize((SIDE_PX, SIDE_PX), LANCZOS), np.float32)
    scaled = small / max(float(small.max()), 1e-6) - 0.5
    with torch.inference_mode():
        output = network(torch.from_numpy(scaled).permute(2, 0, 1)[None])[0, 0].numpy()
    stretched = (output - output.min()) / (output.max() - output.min())
    mask = Image.fromarray((stretched * 255).astype(np.uint8))
    return np.array(mask.resize(photo.size, LANCZOS))


def difference(ours: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return the mean and the maximum difference of two masks, of 255."""
    apart = np.abs(ours.astype(np.int16) - theirs.astype(np.int16))
    return {"mean": round(float(apart.mean()), 4), "greatest": int(apart.max())}


def main(photo_path: str, result_path: str) -> int:
    """Compare the masks and print the differences."""
    path = weights.pull(models.get("isnet-general-use"), ServiceSettings.from_env({}).home)
    photo = Image.open(photo_path).convert("RGB")
    theirs = np.array(Image.open(result_path).convert("RGBA"))[..., 3]
    network = build(load_state_dict(path)).eval()
    same = difference(rembg_alpha(network, photo), theirs)
    segmenter = Segmenter.load(path, device="cpu", precision="fp32")
    output = segmenter.forward([segmenter.prepare(np.array(photo))])[0]
    mask = segmenter.finish(output, photo.height, photo.width, stretch="seed").mask
    found = {"rembg's preparation": same, "the node's preparation": difference(mask, theirs)}
    print(json.dumps({"weights": Path(path).name, **found}))
    return 0 if same["mean"] <= MAX_MEAN else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
