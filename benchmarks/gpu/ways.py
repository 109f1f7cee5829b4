"""Ways to run the network: plain, with fused convolutions, as a graph, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.gpu.common import DEVICE, IS_CUDA, synchronize
from worker.inference.architectures.isnet.network import Block

Run = Callable[[Tensor], Tensor]


class CudnnBlock(nn.Module):
    """A block whose convolution, bias and ReLU are one call of cuDNN."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self._conv = block.conv_s1

    def forward(self, *parts: Tensor) -> Tensor:
        conv = self._conv
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return torch.cudnn_convolution_relu(
            joined, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )


def eager(network: nn.Module, _like: Tensor) -> Run:
    """Run the network as it is."""
    return network


def benchmarked(network: nn.Module, _like: Tensor) -> Run:
    """Let cuDNN choose each algorithm by a measurement."""
    torch.backends.cudnn.benchmark = True
    return network


def fused(network: nn.Module, _like: Tensor) -> Run:
    """Fuse convolution, bias and ReLU; changes *network*."""
    for parent in [network, *network.children()]:
        for name, part in list(parent.named_children()):
            if isinstance(part, Block):
                setattr(parent, name, CudnnBlock(part))
    return network


def graph(network: nn.Module, like: Tensor) -> Run:
    """Record one pass as a CUDA graph, and replay it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    given = like.clone(memory_format=torch.preserve_format)
    with torch.cuda.stream(stream):
        for _ in range(3):
            network(given)
    synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        result = network(given)

    def replay(batch: Tensor) -> Tensor:
        given.copy_(batch)
        recorded.replay()
        return result

    return replay


def fused_graph(network: nn.Module, like: Tensor) -> Run:
    """Record the fused network."""
    torch.backends.cudnn.benchmark = True
    return graph(cast("nn.Module", fused(network, like)), like)


def compiled(network: nn.Module, _like: Tensor) -> Run:
    """Compile the network with torch's compiler."""
    run: Any = torch.compile(network, mode="max-autotune-no-cudagraphs", fullgraph=True)
    return cast("Run", run)


WAYS: dict[str, Callable[[nn.Module, Tensor], Run]] = (
    {
        "eager": eager,
        "benchmark": benchmarked,
        "fused": fused,
        "graph": graph,
        "fused+graph": fused_graph,
        "compile": compiled,
    }
    if IS_CUDA
    else {"eager": eager}
)


def on_device(batch: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a batch `(N, 3, h, w)` as the network takes it: channels last, on the device."""
    return batch.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)
