"""Synthetic network outputs."""

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)


def soft_output():
    """Return a `(1024, 1024)` float32 output of soft blobs, with values from about 0.2 to 0.7."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 1, 40, 40, generator=generator) * 0.5 + 0.2
    return F.interpolate(coarse, (1024, 1024), mode="bicubic")[0, 0].clamp(0, 1)
