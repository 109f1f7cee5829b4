"""Ways to run the network: plain, with fused convolutions, as a graph, compiled, by TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.gpu.common import DEVICE, IS_CUDA, weights
from shared.models.weights import file_sha256
from worker.inference.architectures.isnet.fuse_cuda import fuse_cuda
from worker.inference.architectures.isnet.network import Network
from worker.inference.devices import hardware_of
from worker.inference.engines import Engine, Engines, NetworkKey, exported
from worker.inference.graphs import Graphs
from worker.inference.tensorrt import TensorRt

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


def export(network: nn.Module, like: Tensor) -> Run:
    """Run the exported network, which TensorRT compiles, with torch's operators."""
    example = like.new_zeros((2, *like.shape[1:]))
    return Engine(exported(network, example).module())


def tensorrt(network: nn.Module, like: Tensor) -> Run:
    """Compile the network with TensorRT; keep the engine in the folder of results."""
    key = NetworkKey(file_sha256(weights()), "isnet", hardware_of(DEVICE).name)
    return Engines(weights().parent, TensorRt()).build(network, key, like)


WAYS: dict[str, Callable[[nn.Module, Tensor], Run]] = (
    {
        "eager": eager,
        "benchmark": benchmarked,
        "fused": fused,
        "graph": graph,
        "fused+graph": fused_graph,
        "compile": compiled,
        "export": export,
        "tensorrt": tensorrt,
    }
    if IS_CUDA
    else {"eager": eager, "export": export}
)


def on_device(batch: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a batch `(N, 3, h, w)` as the network takes it: channels last, on the device."""
    return batch.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)
