"""The network of RMBG-1.4 and IS-Net: a U-Net of small U-Nets that maps an image to foreground.

Architecture and parameter names are those of the published `model.pth` (paper: "Highly Accurate
Dichotomous Image Segmentation", Qin 2022, arXiv 2203.03041).
"""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from torch import Tensor, nn

SIDE_PX: Final = 1024
"""Height and width of the network's input and output, in pixels."""

BATCH_NORM_EPS: Final = 1e-5
"""Added to the variance in batch norm; torch's default, used in training."""


class Block(nn.Module):
    """Convolution 3 x 3, batch norm, ReLU; height and width stay the same.

    Args:
        inputs: Channels of each input.
        outputs: Channels of the result.
        parts: Number of inputs that are concatenated: 1, or 2 with a skip connection.
        dilation: Dilation of the convolution, in pixels.
        norm: Whether to include batch norm.
    """

    def __init__(
        self, inputs: int, outputs: int, *, parts: int = 1, dilation: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        self.parts = parts
        self.conv_s1 = nn.Conv2d(inputs * parts, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS) if norm else nn.Identity()

    def forward(self, *parts: Tensor) -> Tensor:
        """Map inputs `(N, inputs, h, w)` to one non-negative `(N, outputs, h, w)`."""
        joined = parts[0] if self.parts == 1 else torch.cat(parts, 1)
        normed: Tensor = self.bn_s1(self.conv_s1(joined))
        return F.relu_(normed)


class Rsu(nn.Module):
    """A small U-Net: RSU-L with L = *depth*, or RSU-LF, which dilates instead of pooling.

    Args:
        depth: Levels of the U-Net.
        inputs: Channels of each input.
        mid: Channels between the blocks.
        outputs: Channels of the result.
        parts: Number of inputs; see `Block`.
        flat: Whether all levels have the same height and width, for small maps.
        norm: Whether to include batch norm.
    """

    def __init__(
        self,
        depth: int,
        inputs: int,
        mid: int,
        outputs: int,
        *,
        parts: int = 1,
        flat: bool = False,
        norm: bool,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.halve = nn.Identity() if flat else _halving()
        dilations = [2**level for level in range(depth)] if flat else [1] * (depth - 1) + [2]
        self.rebnconvin = Block(inputs, outputs, parts=parts, norm=norm)
        for level, dilation in enumerate(dilations, start=1):
            block = Block(mid if level > 1 else outputs, mid, dilation=dilation, norm=norm)
            self.add_module(f"rebnconv{level}", block)
        for level in range(depth - 1, 0, -1):
            width, dilation = mid if level > 1 else outputs, dilations[level - 1]
            block = Block(mid, width, parts=2, dilation=dilation, norm=norm)
            self.add_module(f"rebnconv{level}d", block)

    def forward(self, *parts: Tensor) -> Tensor:
        """Map inputs `(N, inputs, h, w)` to one `(N, outputs, h, w)`."""
        whole = self.rebnconvin(*parts)
        skips: list[Tensor] = [self._block("1")(whole)]
        for level in range(2, self.depth):
            skips.append(self._block(f"{level}")(self.halve(skips[-1])))
        deeper: Tensor = self._block(f"{self.depth}")(skips[-1])
        for level in range(self.depth - 1, 0, -1):
            skip = skips.pop()
            deeper = self._block(f"{level}d")(upsample_like(deeper, skip), skip)
        return deeper.add_(whole)

    def _block(self, suffix: str) -> nn.Module:
        return self.get_submodule(f"rebnconv{suffix}")


class Network(nn.Module):
    """The whole network: six encoder stages, five decoder stages.

    Sub-modules are registered in the order of execution in a full pass, which is the order of the
    convolutions in an ONNX export; `isnet.tensors` relies on it.

    Args:
        norm: Whether to include batch norm, as published; False for folded weights.
    """

    def __init__(self, *, norm: bool = True) -> None:
        super().__init__()
        self.deepest_dtype: torch.dtype | None = None
        """Data type of `stage6` if it differs from the other stages; see `lower`."""
        self.halve = _halving()
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.stage1 = Rsu(7, 64, 32, 64, norm=norm)
        self.stage2 = Rsu(6, 64, 32, 128, norm=norm)
        self.stage3 = Rsu(5, 128, 64, 256, norm=norm)
        self.stage4 = Rsu(4, 256, 128, 512, norm=norm)
        self.stage5 = Rsu(4, 512, 256, 512, flat=True, norm=norm)
        self.stage6 = Rsu(4, 512, 256, 512, flat=True, norm=norm)
        self.stage5d = Rsu(4, 512, 256, 512, parts=2, flat=True, norm=norm)
        self.stage4d = Rsu(4, 512, 128, 256, parts=2, norm=norm)
        self.stage3d = Rsu(5, 256, 64, 128, parts=2, norm=norm)
        self.stage2d = Rsu(6, 128, 32, 64, parts=2, norm=norm)
        self.stage1d = Rsu(7, 64, 16, 64, parts=2, norm=norm)
        self.side1 = nn.Conv2d(64, 1, 3, padding=1)
        for number, width in enumerate((64, 128, 256, 512, 512), start=2):
            self.add_module(f"side{number}", nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map images to foreground; the other five side outputs are not computed.

        Args:
            x: `(N, 3, 1024, 1024)` in the parameters' dtype, from -0.5 to 0.5.

        Returns:
            `(N, 1, 1024, 1024)` float32 from 0 to 1: the first side output after upsampling and
            sigmoid, both in float32 whatever the parameters' dtype.
        """
        skips = [self.stage1(self.conv_in(x))]
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5):
            skips.append(stage(self.halve(skips[-1])))
        deepest = self.halve(skips[-1])
        deeper = self.stage6(deepest.to(self.deepest_dtype)).to(deepest.dtype)
        for stage in (self.stage5d, self.stage4d, self.stage3d, self.stage2d, self.stage1d):
            skip = skips.pop()
            deeper = stage(upsample_like(deeper, skip), skip)
        return torch.sigmoid_(upsample_like(self.side1(deeper).float(), x))


def lower(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert *network* to *dtype* in place; with bf16 the deepest stage stays in float32.

    That stage affects large areas, so that its rounding errors spread over the whole mask, but it
    is only 1 % of the arithmetic. On the image that bf16 changes most, the mean difference falls
    from 0.22 to 0.15 of 255. Repeating the call changes nothing.
    """
    if not isinstance(network, Network) or dtype != torch.bfloat16:
        return network.to(dtype)
    network.deepest_dtype = torch.float32
    deepest = network.stage6
    network.stage6 = None  # type: ignore[assignment]
    network.to(dtype)
    network.stage6 = deepest
    return network


def convolutions(network: Network) -> dict[str, nn.Conv2d]:
    """Return the 119 convolutions by state-dict prefix, in order of execution."""
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}


def upsample_like(x: Tensor, like: Tensor) -> Tensor:
    """Resize `(N, C, h, w)` bilinearly to the height and width of *like*."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _halving() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, stride=2, ceil_mode=True)
