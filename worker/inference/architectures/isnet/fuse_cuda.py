"""Blocks for CUDA: convolution, bias and ReLU in one call of cuDNN.

Measured on an H100 in fp16 (docs/performance.md): 1.87 ms per image at batch size 32, where plain
blocks take 2.50 ms, and less at all batch sizes from 1.
"""

import torch
from torch import Tensor, nn

from worker.inference.architectures.isnet.network import Block, Network


def fuse_cuda(network: Network) -> Network:
    """Replace each block of *network* in place; return *network*.

    *network* must be folded. Outputs are the same up to rounding. The result runs on CUDA only;
    until then it can be moved and converted.
    """
    for parent in [network, *network.children()]:
        for name, part in list(parent.named_children()):
            if isinstance(part, Block):
                setattr(parent, name, CudnnBlock(part))
    return network


class CudnnBlock(nn.Module):
    """A `Block` without batch norm, as one call of cuDNN."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv_s1 = block.conv_s1

    def forward(self, *parts: Tensor) -> Tensor:
        """See `Block.forward`."""
        conv = self.conv_s1
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return torch.cudnn_convolution_relu(
            joined,
            conv.weight,
            conv.bias,
            conv.stride,
            conv.padding,  # type: ignore[arg-type]  # never a name here
            conv.dilation,
            conv.groups,
        )
