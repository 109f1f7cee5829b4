"""Run batches in parts that fit into device memory."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor

from shared.errors import DeviceFull
from worker.inference.torch_errors import PassFailed, translated

logger = logging.getLogger(__name__)

GOOD_BATCHES: Final = 32
"""Consecutive full batches after which the limit grows by one: other processes may have released
memory, and one failed attempt in 32 batches costs about 3 %."""


class BatchRunner:
    """Runs a network over batches; halves the batch when out of memory, and recovers slowly.

    Args:
        run: Runs one batch, or a part of it.
        free_cached_memory: Called after a batch that did not fit.
        device: Name of the device, for errors.
        precision: Name of the precision, for errors.
        batch_size: Maximum batch size, at least 1.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Tensor]], list[Tensor]],
        free_cached_memory: Callable[[], None],
        *,
        device: str,
        precision: str,
        batch_size: int,
    ) -> None:
        self._run = run
        self._free_cached_memory = free_cached_memory
        self._device = device
        self._precision = precision
        self.set_batch_size(batch_size)

    def set_batch_size(self, batch_size: int) -> None:
        """Set the maximum batch size, and try it with the next batch."""
        self._batch_size = self._limit = batch_size
        self._good_batches = 0

    def __call__(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs for *batch*, in order.

        Raises:
            PassFailed: If the network fails or returns a value that is not finite; an image or the
                device may be the cause.
            DeviceFull: If the device has no memory for a single image; the image is not the cause.
        """
        outputs: list[Tensor] = []
        while len(outputs) < len(batch):
            part = batch[len(outputs) : len(outputs) + self._limit]
            done = self._try(part)
            if isinstance(done, str):
                message = "batch halved" if len(part) > 1 else "image does not fit"
                logger.warning(message, extra={"batch_size": len(part), "cause": done})
                self._free()
                if len(part) == 1:
                    raise DeviceFull(f"{self._device} has no memory for one image")
                self._limit = max(1, len(part) // 2)
                self._good_batches = 0
            else:
                self._grow(len(part))
                outputs += done
        return outputs

    def _free(self) -> None:
        with translated(self._device, "outside the network"):
            self._free_cached_memory()

    def _grow(self, fitted: int) -> None:
        """Raise the limit after enough batches that reached it; *fitted* images fitted."""
        if fitted < self._limit or self._limit == self._batch_size:
            return
        self._good_batches += 1
        if self._good_batches == GOOD_BATCHES:
            self._limit += 1
            self._good_batches = 0

    def _try(self, part: Sequence[Tensor]) -> list[Tensor] | str:
        """Return the outputs, or what the device says if *part* does not fit."""
        try:
            with translated(self._device, "in the network"):
                outputs = self._run(part)
                is_finite = all(math.isfinite(float(output.sum())) for output in outputs)
        except MemoryError as err:
            return str(err)  # the error itself would keep the memory of the pass
        if not is_finite:
            raise PassFailed(
                f"{self._device} returned a value that is not finite ({self._precision})"
            )
        return outputs
