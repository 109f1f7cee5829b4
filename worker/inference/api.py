"""The contract between the engine and a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from worker.imaging.types import RgbImage, Segmented

Prepared: TypeAlias = object
"""One preprocessed image; opaque to all but the segmenter that made it."""

Output: TypeAlias = object
"""The network's output for one image; opaque to all but the segmenter that made it."""


class Segmenter(Protocol):
    """A loaded model on its device: pictures in, masks out."""

    device: str
    """As records name it: `cpu`, `cuda:0`."""
    weights_sha256: str
    """Of the file that was loaded."""
    batch_size: int
    """Most pictures of one batch: on a CPU measured, on CUDA where it begins."""

    def prepare(self, image: RgbImage) -> Prepared:
        """Make one picture ready for the network; safe in any thread.

        Raises:
            DeviceLost: As `forward`.
        """
        ...

    def forward(self, batch: Sequence[Prepared]) -> Sequence[Output]:
        """Run the network; called from one thread only; as many outputs as inputs, in order.

        Raises:
            DeviceLost: If only a new process can use the device again.
        """
        ...

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Turn one output into a ``(height, width)`` mask; safe in any thread.

        Raises:
            DeviceLost: As `forward`.
            MemoryError: If there is no memory for it now.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model and what records say of it."""

    name: str
    licence: str
    segmenter: Segmenter
