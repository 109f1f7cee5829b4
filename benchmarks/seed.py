"""The loop of the ComfyUI node that this system comes from, written from its description.

One picture at a time, fp32, batch norm as published, all six side outputs, gradients recorded,
Pillow's decoder and PNG. Other than the node it loads its model once, not at every call.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from PIL import Image
from torch import Tensor

from worker.inference.architectures.isnet.network import (
    BATCH_NORM_EPS,
    SIDE_PX,
    Network,
    upsample_like,
)
from worker.inference.architectures.isnet.tensors import load_state_dict

PNG_LEVEL: Final = 4
"""What the node saves with."""


class PublishedNetwork(Network):
    """The network as published: every side output is computed, though one is used."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the first of six maps, as the worker's network does."""
        skips = [self.stage1(self.conv_in(x))]
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5):
            skips.append(stage(F.max_pool2d(skips[-1], 2, stride=2, ceil_mode=True)))
        deeper = self.stage6(F.max_pool2d(skips[-1], 2, stride=2, ceil_mode=True))
        maps = [deeper]
        for stage in (self.stage5d, self.stage4d, self.stage3d, self.stage2d, self.stage1d):
            skip = skips.pop()
            deeper = stage(upsample_like(deeper, skip), skip)
            maps.append(deeper)
        sides = (getattr(self, f"side{6 - n}")(each) for n, each in enumerate(maps))
        return [torch.sigmoid(upsample_like(side, x)) for side in sides][-1]


class SeedLoop:
    """The model, and the way of one picture through it."""

    def __init__(self, weights: Path, device: str) -> None:
        self._device = device
        self._network = PublishedNetwork(norm=True)
        self._network.load_state_dict(_with_batch_norm(self._network, load_state_dict(weights)))
        self._network.eval().to(device)

    def work(self, source: Path, target: Path) -> None:
        """Decode *source*, cut it out, write *target*."""
        with Image.open(source) as file:
            picture = file.convert("RGB")
        mask = self._mask(np.array(picture))
        cutout = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        cutout.paste(picture, mask=Image.fromarray(mask))
        cutout.save(target, "PNG", compress_level=PNG_LEVEL)

    def _mask(self, picture: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
        small = F.interpolate(planes, size=(SIDE_PX, SIDE_PX), mode="bilinear").to(torch.uint8)
        found = self._network((small / 255 - 0.5).to(self._device))
        sized = F.interpolate(found, size=picture.shape[:2], mode="bilinear")[0, 0]
        low, high = sized.min(), sized.max()
        return ((sized - low) / (high - low) * 255).to(torch.uint8).cpu().numpy()


def _with_batch_norm(network: Network, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add batch norms that change nothing, where *state* has them folded in already."""
    fresh = network.state_dict()
    for name, tensor in fresh.items():
        if name.endswith("running_var"):
            tensor.fill_(1 - BATCH_NORM_EPS)
    return fresh | state
