"""Ways to run the network: plain, with fused convolutions, as a graph, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.gpu.common import DEVICE, IS_CUDA
from worker.inference.architectures.isnet.fuse_cuda import fuse_cuda
from worker.inference.architectures.isnet.network import Network
from worker.inference.graphs import Graphs

Run = Callable[[Tensor], Tensor]


def eager(network: nn.Module, _like: Tensor) -> Run:
    """Run the network as it is."""
    return network


def benchmarked(network: nn.Module, _like: Tensor) -> Run:
    """Let cuDNN choose each algorithm by a measurement."""
    torch.backends.cudnn.benchmark = True
    return network


def fused(network: nn.Module, _like: Tensor) -> Run:
    """Fuse convolution, bias and ReLU as the product does; changes *network*."""
    return fuse_cuda(cast("Network", network))


def graph(network: nn.Module, _like: Tensor) -> Run:
    """Record passes as CUDA graphs, as the product does."""
    return Graphs(network)


def fused_graph(network: nn.Module, _like: Tensor) -> Run:
    """Record the fused network."""
    return Graphs(fuse_cuda(cast("Network", network)))


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
