"""Blocks for the CPU: convolution and ReLU fused in oneDNN, with reordered weights.

The torch operators are private (torch's own compiler uses them), so `fuse` tests them first and
leaves the network unchanged if they are missing. Measured with AVX512-BF16 in CPU time of one
thread, on a machine busy with other work, medians of 7: 1.03 s per image with plain blocks, 0.92 s
with these (minima 0.91 and 0.90); a matrix product of the same arithmetic takes 0.91 s.
"""

from typing import Final

import torch
from torch import Tensor, nn

from worker.inference.architectures.isnet.network import Block, Network

MIN_SPLIT_CHANNELS: Final = 64
"""Two inputs of at least this many channels are convolved separately and added, which saves
concatenating them; with fewer channels that is not faster."""


def fuse(network: Network) -> Network:
    """Replace each block and pooling of *network* in place, if possible; return *network*.

    For CPUs only. *network* must be folded and in its final data type. Outputs are the same up to
    rounding. Afterwards it can no longer be moved, converted, saved or trained.
    """
    parameter = next(network.parameters())
    if not _is_supported(parameter.dtype):
        return network
    for parent in [network, *network.children()]:
        for name, part in list(parent.named_children()):
            if isinstance(part, Block):
                setattr(parent, name, FusedBlock(part))
            elif isinstance(part, nn.MaxPool2d):
                setattr(parent, name, Halve())
    return network


class FusedBlock(nn.Module):
    """A `Block` without batch norm, as one or two oneDNN calls."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        conv = block.conv_s1
        width = conv.in_channels // block.parts
        self._split = block.parts > 1 and width >= MIN_SPLIT_CHANNELS
        self._bias = conv.bias
        self._dilation = list(conv.dilation)
        weights = conv.weight.chunk(block.parts, 1) if self._split else (conv.weight,)
        self._weights = [_reorder(weight, self._dilation) for weight in weights]

    def forward(self, *parts: Tensor) -> Tensor:
        """See `Block.forward`."""
        dilation = self._dilation
        if not self._split:
            joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            return _convolve(joined, self._weights[0], self._bias, dilation, then="relu")
        first, second = parts
        result = _convolve(second, self._weights[1], self._bias, dilation, then="none")
        add_to: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            result,
            first,
            self._weights[0],
            None,
            dilation,
            [1, 1],
            dilation,
            1,
            "add",
            1.0,
            "relu",
            [],
            "",
        )
        return add_to


class Halve(nn.Module):
    """Max pooling of 2 x 2, for maps of even height and width.

    Torch's own also records the position of each maximum. A pass in bf16 takes 1 % less with this,
    with the same output (medians of 20 alternating passes, four times: 0.0, 1.0, 1.2, 1.4 %).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, h, w)` to `(N, C, h / 2, w / 2)`, in the same layout."""
        narrow = torch.maximum(x[..., 0::2], x[..., 1::2])
        return torch.maximum(narrow[..., 0::2, :], narrow[..., 1::2, :])


def _reorder(weight: Tensor, dilation: list[int]) -> Tensor:
    reordered: Tensor = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001
        weight.contiguous(memory_format=torch.channels_last), dilation, [1, 1], dilation, 1, None
    )
    return reordered


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, dilation: list[int], *, then: str
) -> Tensor:
    """Convolve 3 x 3, with as much padding as dilation, so that the size stays the same."""
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
        x, weight, bias, dilation, [1, 1], dilation, 1, then, [], ""
    )
    return result


def _is_supported(dtype: torch.dtype) -> bool:
    """Compare a fused block with a plain one on small maps."""
    plain = Block(MIN_SPLIT_CHANNELS, 8, parts=2, norm=False).to(dtype)
    parts = [torch.ones(1, MIN_SPLIT_CHANNELS, 8, 8, dtype=dtype) for _ in range(2)]
    try:
        with torch.inference_mode():
            return torch.allclose(
                FusedBlock(plain)(*parts).float(), plain(*parts).float(), atol=0.05
            )
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
