"""CUDA graphs: record a pass of the network once per batch size, and replay it.

A pass of IS-Net starts about 470 kernels. Python needs longer to start them than the device to run
them for small batches, above all while other threads hold Python's lock; a replay is one call.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

Run: TypeAlias = Callable[[Tensor], Tensor]
Record: TypeAlias = Callable[[Run, Tensor], Run]
"""Records a pass over a batch of the given size; what it returns runs batches up to that size."""
SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Batch sizes that are recorded when they are first needed; other batches are padded. `BatchRunner`
halves batches to these sizes."""
WARM_UPS: Final = 2
"""Passes before the recording: the first ones choose algorithms and allocate work space."""


class Graphs(nn.Module):
    """A network whose passes are recorded and replayed; call it from one thread only.

    A size that cannot be recorded, for lack of memory for example, runs unrecorded from then on.

    Args:
        network: Takes `(N, ...)` on CUDA and returns `(N, ...)`.
        record: See `Record`.
        sizes: In ascending order.
    """

    def __init__(
        self, network: nn.Module, record: Record | None = None, sizes: Sequence[int] = SIZES
    ) -> None:
        super().__init__()
        self.network = network
        self._record = record or CudaRecorder()
        self._sizes = sizes
        self._runs: dict[int, Run] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Run the network over *x*; the result stays valid after later calls."""
        size = next((size for size in self._sizes if size >= len(x)), None)
        if size is None:
            result: Tensor = self.network(x)
            return result
        if size not in self._runs:
            self._runs[size] = self._recorded(x, size)
        return self._runs[size](x)

    def _recorded(self, x: Tensor, size: int) -> Run:
        like = x.new_zeros((size, *x.shape[1:])).contiguous(memory_format=torch.channels_last)
        for _ in range(WARM_UPS):
            self.network(like)  # outside the recording, so that its errors are the network's
        try:
            return self._record(self.network, like)
        except Exception as err:  # noqa: BLE001 - torch raises several classes
            facts = {"batch_size": size, "cause": f"{type(err).__name__}: {err}"}
            logger.warning("graph not recorded", extra=facts)
            return self.network


class CudaRecorder:
    """Records passes as CUDA graphs, which share their memory: only one runs at a time."""

    def __init__(self) -> None:
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def __call__(self, run: Run, like: Tensor) -> Run:
        """Record *run* over *like*, which becomes the graph's input; see `Record`."""
        current = torch.cuda.current_stream()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            run(like)
        current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        pool = self._graphs[0].pool() if self._graphs else None
        # Other threads prepare and finish images on the device meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            result = run(like)
        self._graphs.append(graph)

        def replay(x: Tensor) -> Tensor:
            like[: len(x)].copy_(x)
            graph.replay()
            return result[: len(x)].clone()  # the next replay overwrites it

        return replay
