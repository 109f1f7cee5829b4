"""Run batches in parts that fit into device memory."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from shared.errors import DeviceLost
from worker.inference.batch_limit import BatchLimit
from worker.inference.torch_errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

logger = logging.getLogger(__name__)


class BatchRunner:
    """Runs a network over batches; halves the batch when the device is out of memory.

    Args:
        run: Runs one batch, which may be smaller than the one asked for.
        free_cached_memory: Called after a batch that did not fit.
        device: Name of the device, for errors.
        precision: Name of the precision, for errors.
        batch_size: Maximum batch size.
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
        self.limit = BatchLimit(batch_size)

    def __call__(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs for *batch*, in order.

        Raises:
            DeviceLost: If the device fails, returns a value that is not finite, or has no memory
                for a single image; the images are not the cause.
        """
        outputs: list[Tensor] = []
        while len(outputs) < len(batch):
            part = batch[len(outputs) : len(outputs) + self.limit.now]
            done = self._try(part)
            if done is None:
                self.limit.failed(len(part))
                facts = {"batch_size": len(part), "cause": f"{self._device} is out of memory"}
                logger.warning("batch halved", extra=facts)
                with translated(self._device, "outside the network"):
                    self._free_cached_memory()
            else:
                self.limit.fitted(len(part))
                outputs += done
        return outputs

    def _try(self, part: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the outputs, or None if *part* does not fit but half of it may."""
        try:
            with translated(self._device, "in the network"):
                outputs = self._run(part)
                is_finite = all(math.isfinite(float(output.sum())) for output in outputs)
        except MemoryError as err:
            if len(part) == 1:
                raise DeviceLost(f"{self._device} has no memory for one image: {err}") from err
            return None
        if not is_finite:
            raise DeviceLost(
                f"{self._device} returned a value that is not finite ({self._precision})"
            )
        return outputs
