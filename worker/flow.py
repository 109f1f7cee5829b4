"""What travels through the engine: the work that comes in, what is known so far, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from shared.job import ItemRecord, JobSpec
from worker.types import Mask, RgbImage, Segmented

Prepared: TypeAlias = Any
"""One picture as its segmenter wants it; only the segmenter that made it looks inside."""
Output: TypeAlias = Any
"""One picture's network output; only the segmenter that made it looks inside."""


class Stage(IntEnum):
    """What an item goes through, in this order; an item's step is one of these."""

    DOWNLOAD = 0
    DECODE = 1
    FORWARD = 2
    DRAW = 3
    UPLOAD = 4


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


@dataclass(frozen=True, kw_only=True)
class Work:
    """One item, as a ticket hands it to the engine."""

    job_id: str
    sequence: int
    """The job's place among all jobs; a later one's output is never replaced."""
    spec: JobSpec
    index: int
    image_key: str
    model: Model
    generation: int = 1
    """The job's round: 1, and one more each time that some of its items are opened again."""
    attempts_before: int = 0
    """Attempts of earlier generations and processes, as far as they are known."""
    redo: bool = False
    """Whether somebody may have done it already: then the bucket is asked first."""
    isolate: bool = False
    """Whether it is decoded in a child process whatever its format."""
    urgent: bool = False
    """Whether it goes before others in every queue."""


@dataclass(frozen=True)
class Ended:
    """The item is done or failed; its record says which."""

    record: ItemRecord
    verdict: str | None = None


@dataclass(frozen=True)
class GivenBack:
    """The item was not finished and nothing is recorded: its ticket goes back."""

    waiting_for: str | None = None
    """What the job waits for, if it is more than this process leaving."""


Outcome: TypeAlias = Ended | GivenBack


@dataclass(eq=False)
class Flow:
    """One item inside the engine. Stations never see it; the engine reads and fills it."""

    work: Work
    done: Callable[[Work, Outcome], None]
    order: int
    """Place in arrival order; with urgency, the order in which stages take items."""
    started_at_s: float
    at_device_s: float = 0.0
    """When it came to wait for a batch."""
    step: int = Stage.DOWNLOAD
    upstream: bool = True
    """Whether it has still to come to the device."""
    attempts: int = 0
    body: bytes = b""
    source_etag: str = ""
    pixels: int = 0
    """Decoded pixels this item holds of the budget; 0 when it holds none."""
    image: RgbImage | None = None
    alpha: Mask | None = None
    notes: tuple[str, ...] = ()
    prepared: Prepared = None
    output: Output = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    record: ItemRecord | None = None
    verdict: str | None = None

    @property
    def rank(self) -> tuple[bool, int]:
        """Sort key: urgent items first, then in order of arrival."""
        return (not self.work.urgent, self.order)
