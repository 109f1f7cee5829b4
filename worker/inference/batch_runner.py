"""Run batches in parts that fit into device memory."""

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from torch import Tensor

from shared.errors import DeviceFull
from worker.inference.api import Pass
from worker.inference.graphs import SIZES
from worker.inference.torch_errors import PassFailed, translated

logger = logging.getLogger(__name__)

GOOD_BATCHES: Final = 32
"""Consecutive full batches after which the limit grows by one size: other processes may have
released memory, and one failed attempt in 32 batches costs about 3 %."""

Launch: TypeAlias = Callable[[Sequence[Tensor]], Pass[Tensor]]
"""Starts one batch, or a part of it; see `worker.inference.forward.Forward.launch`."""

_COLLECTED: Final = RuntimeError("a pass is collected twice")


class BatchRunner:
    """Runs a network over batches; halves the batch when out of memory, and recovers slowly.

    Args:
        launch: See `Launch`.
        free_cached_memory: Called after a batch that did not fit.
        device: Name of the device, for errors.
        batch_size: Maximum batch size, at least 1.
    """

    def __init__(
        self,
        launch: Launch,
        free_cached_memory: Callable[[], None],
        *,
        device: str,
        batch_size: int,
    ) -> None:
        self._launch = launch
        self._free_cached_memory = free_cached_memory
        self._device = device
        self.set_batch_size(batch_size)

    def set_batch_size(self, batch_size: int) -> None:
        """Set the maximum batch size, and try it with the next batch."""
        self._batch_size = self._limit = batch_size
        self._good_batches = 0

    def __call__(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs for *batch*, in order; see `BatchPass.collect` for the errors."""
        return self.launch(batch).collect()

    def launch(self, batch: Sequence[Tensor]) -> "BatchPass":
        """Start the first part of *batch*; collecting raises the errors."""
        return BatchPass(self, batch)

    def start(self, images: Sequence[Tensor]) -> "Part":
        """Start as many of *images* as fit."""
        part = images[: self._limit]
        try:
            with translated(self._device, "in the network"):
                return Part(part, self._launch(part))
        except MemoryError as err:
            return Part(part, MemoryError(str(err)))  # the error itself would keep the memory
        except PassFailed as err:
            return Part(part, err)

    def finish(self, part: "Part") -> list[Tensor]:
        """Return the outputs of *part*; none if it did not fit, so that a smaller one may."""
        try:
            outputs = part.collect(self._device)
        except MemoryError as err:
            cause = str(err)
        else:
            self._grow(len(outputs))
            return outputs
        count = len(part.images)
        message = "batch halved" if count > 1 else "image does not fit"
        logger.warning(message, extra={"batch_size": count, "cause": cause})
        with translated(self._device, "outside the network"):
            self._free_cached_memory()
        if count == 1:
            raise DeviceFull(f"{self._device} has no memory for one image")
        # A graph pads other sizes to the next of these, and takes the memory of that one.
        self._limit = max(size for size in SIZES if size <= max(1, count // 2))
        self._good_batches = 0
        return []

    def _grow(self, fitted: int) -> None:
        """Raise the limit after enough batches that reached it; *fitted* images fitted."""
        if fitted < self._limit or self._limit == self._batch_size:
            return
        self._good_batches += 1
        if self._good_batches == GOOD_BATCHES:
            larger = next((size for size in SIZES if size > self._limit), self._batch_size)
            self._limit = min(larger, self._batch_size)
            self._good_batches = 0


class BatchPass:
    """A batch of which the first part is launched; see `worker.inference.api.Pass`.

    The first part is the whole batch, unless memory has been short. Parts that follow, also after
    one that did not fit, are run when the batch is collected: then the batches before it have ended
    and given back their memory.
    """

    def __init__(self, runner: BatchRunner, batch: Sequence[Tensor]) -> None:
        self.device_s = 0.0
        self._runner = runner
        self._batch = batch
        self._first: Part | None = runner.start(batch)

    def collect(self) -> list[Tensor]:
        """Return the outputs, in order.

        Raises:
            PassFailed: If the network fails or returns a value that is not finite; an image or the
                device may be the cause.
            DeviceFull: If the device has no memory for a single image; the image is not the cause.
        """
        outputs: list[Tensor] = []
        part, self._first = self._first, None
        while True:
            part = part or self._runner.start(self._batch[len(outputs) :])
            outputs += self._runner.finish(part)
            self.device_s += part.device_s
            if len(outputs) >= len(self._batch):
                return outputs
            part = None


class Part:
    """Images that were launched together, and what that returned or raised; collect it once."""

    def __init__(self, images: Sequence[Tensor], launched: Pass[Tensor] | Exception) -> None:
        self.images = images
        self.device_s = 0.0
        self._launched = launched

    def collect(self, device: str) -> list[Tensor]:
        """Return the outputs; *device* is its name for errors.

        Raises:
            MemoryError: If out of memory.
            PassFailed: If the network failed.
        """
        launched, self._launched = self._launched, _COLLECTED
        try:
            if isinstance(launched, Exception):
                raise launched
            with translated(device, "in the network"):
                outputs = list(launched.collect())
            self.device_s = launched.device_s
            return outputs
        finally:
            del launched  # an error and the frame that raised it would keep each other
