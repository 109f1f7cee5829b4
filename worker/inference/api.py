"""The contract between the engine and a loaded model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from worker.imaging.compose import Compose, compose
from worker.imaging.types import RgbImage, Segmented

Prepared: TypeAlias = object
"""One preprocessed image; opaque to all but the segmenter that made it."""

Output: TypeAlias = object
"""The network's output for one image; opaque to all but the segmenter that made it."""

T_co = TypeVar("T_co", covariant=True)


class Pass(Protocol[T_co]):
    """A batch that has been launched on a device."""

    @property
    def device_s(self) -> float:
        """How long the device took, in seconds; known once `collect` has returned."""

    def collect(self) -> Sequence[T_co]:
        """Wait for the device; return one output per input, in order. Call it once.

        It raises the errors of the launch, too. See `Segmenter.launch`.
        """


@dataclass(frozen=True)
class Done(Generic[T_co]):
    """A pass that had ended when its launch returned, as on a CPU."""

    outputs: Sequence[T_co]
    device_s: float = 0.0

    def collect(self) -> Sequence[T_co]:
        """See `Pass.collect`."""
        return self.outputs


@dataclass(frozen=True)
class Hardware:
    """What a model runs on, for people and for monitoring."""

    name: str
    """As its maker calls it: `NVIDIA H100 80GB HBM3`, or a processor's name."""
    uuid: str = ""
    """UUID of a GPU, as the driver knows it; empty for a CPU."""


class Segmenter(Protocol):
    """A loaded model on its device, from images to masks."""

    device: str
    """Name of the device as in records: `cpu`, `cuda:0`."""
    hardware: Hardware
    weights_sha256: str
    """SHA-256 of the weights file."""
    batch_size: int
    """Maximum number of images per batch: measured on a CPU, the initial value on CUDA."""
    in_flight: int
    """Batches to launch before the first of them is collected: 1 if a launch returns only when its
    batch has run, 2 if the device runs one while the caller launches the next."""

    def prepare(self, image: RgbImage) -> Prepared:
        """Preprocess one image for the network; thread-safe.

        Raises:
            DeviceLost: See `launch`.
        """

    def launch(self, batch: Sequence[Prepared]) -> Pass[Output]:
        """Start the network over *batch*. Call it from one thread only, which also collects.

        Passes are collected in the order of their launches. The errors below come from here or from
        `Pass.collect`. Any other error means that an image of a batch of several may be the cause:
        the engine then runs each of them alone. An error of the device may show in the batch that
        was launched before or after the one that caused it, and then fails both.

        Raises:
            InferenceFailed: If the only image of the batch is the cause.
            DeviceLost: If only a new process can use the device again.
            DeviceFull: If the device has no memory for one image at present.
        """

    def finish(self, output: Output, height: int, width: int, *, stretch: str) -> Segmented:
        """Convert one output to a ``(height, width)`` mask; thread-safe.

        Raises:
            DeviceLost: See `launch`.
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
