"""The contract between the engine and a loaded model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from worker.imaging.compose import Compose, compose
from worker.imaging.types import RgbImage, Segmented

Prepared: TypeAlias = object
"""One preprocessed image; opaque to all but the segmenter that made it."""

Output: TypeAlias = object
"""The network's output for one image; opaque to all but the segmenter that made it."""


class Segmenter(Protocol):
    """A loaded model on its device, from images to masks."""

    device: str
    """Name of the device as in records: `cpu`, `cuda:0`."""
    weights_sha256: str
    """SHA-256 of the weights file."""
    batch_size: int
    """Maximum number of images per batch: measured on a CPU, the initial value on CUDA."""

    def prepare(self, image: RgbImage) -> Prepared:
        """Preprocess one image for the network; thread-safe.

        Raises:
            DeviceLost: See `forward`.
        """

    def forward(self, batch: Sequence[Prepared]) -> Sequence[Output]:
        """Run the network; return one output per input, in order. Call it from one thread only.

        Any error that is not listed means that an image of a batch of several may be the cause: the
        engine then runs each of them alone.

        Raises:
            InferenceFailed: If the only image of the batch is the cause.
            DeviceLost: If only a new process can use the device again.
            DeviceFull: If the device has no memory for one image at present.
        """

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Convert one output to a ``(height, width)`` mask; thread-safe.

        Raises:
            DeviceLost: See `forward`.
            MemoryError: If there is not enough memory at present.
        """


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model, with its name and licence for records."""

    name: str
    licence: str
    segmenter: Segmenter
    compose: Compose = compose
    """Makes cutouts, on the model's device where that is faster.

    Raises `DeviceLost` if the device fails; the image is not the cause.
    """
