"""The loop of the original ComfyUI node, written from its description.

It processes one image at a time in fp32, with separate batch norm, all six side outputs, recorded
gradients, and Pillow's decoder and PNG encoder. Unlike the node, it loads its model only once.
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
"""Compression level of the node."""


class PublishedNetwork(Network):
    """The network as published, which computes every side output and uses one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the first of six side outputs, like the worker's network."""
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
    """The model and the steps from an image file to a cutout."""

    def __init__(self, weights: Path, device: str) -> None:
        self._device = device
        self._network = PublishedNetwork(norm=True)
        self._network.load_state_dict(_with_batch_norm(self._network, load_state_dict(weights)))
        self._network.eval().to(device)

    def remove_background(self, source: Path, target: Path) -> None:
        """Read the image *source* and write its cutout to *target*."""
        with Image.open(source) as file:
            image = file.convert("RGB")
        mask = self._mask(np.array(image))
        cutout = Image.new("RGBA", image.size, (0, 0, 0, 0))
        cutout.paste(image, mask=Image.fromarray(mask))
        cutout.save(target, "PNG", compress_level=PNG_LEVEL)

    def _mask(self, image: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(image).float().permute(2, 0, 1)[None]
        small = F.interpolate(planes, size=(SIDE_PX, SIDE_PX), mode="bilinear").to(torch.uint8)
        found = self._network((small / 255 - 0.5).to(self._device))
        sized = F.interpolate(found, size=image.shape[:2], mode="bilinear")[0, 0]
        low, high = sized.min(), sized.max()
        return ((sized - low) / (high - low) * 255).to(torch.uint8).cpu().numpy()


def _with_batch_norm(network: Network, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add batch norms without effect where *state* has them folded into the convolutions."""
    identity = network.state_dict()
    for name, tensor in identity.items():
        if name.endswith("running_var"):
            tensor.fill_(1 - BATCH_NORM_EPS)
    return identity | state
