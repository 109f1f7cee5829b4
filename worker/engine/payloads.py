"""What is known about an item between two stages: one frozen dataclass for each step.

    Queued -> Downloaded -> Decoded -> Inferred -> Rendered -> Finished
    Redo -> Queued ...      Downloaded -> DecodedRedo -> Decoded ...
    Queued -> Reusable -> Downloaded -> Inferred ...

The type of a payload names the stage that comes next (see `stages`). A payload holds what later
stages read and nothing else, so that memory is freed as soon as its stage has run.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from shared.job.record import ItemRecord
from shared.job.spec import Json
from worker.imaging.types import Mask, SourceImage
from worker.inference import Output, Prepared
from worker.storage import NOTHING, EncodedOutput, Present, StoredMask

MaskOrigin: TypeAlias = Literal["network", "alpha", "reused", "shared"]
"""Where a mask comes from: the network, the alpha of the image itself, the mask in the bucket that
an earlier job has written, or an image of equal bytes."""


@dataclass(frozen=True)
class Queued:
    """Nothing has been done yet by this process."""

    present: Present = NOTHING
    """Outputs that an earlier process has written."""


@dataclass(frozen=True)
class Redo:
    """Nothing has been done by this process, but an earlier one may have finished the item."""


@dataclass(frozen=True)
class Downloaded:
    """The bytes of the source."""

    present: Present
    body: bytes
    masks: tuple[StoredMask, ...] = ()
    """The mask that an earlier job made of this source, if there is one."""


@dataclass(frozen=True)
class Reusable:
    """The bytes of a source whose mask may be in the bucket."""

    source: Downloaded


@dataclass(frozen=True)
class Decoded:
    """The decoded image, and the input of the network made from it."""

    present: Present
    image: SourceImage
    notes: tuple[str, ...]
    prepared: Prepared
    key: Hashable
    """Equal for images that get the same mask: see `SharedMasks.key_of`."""


@dataclass(frozen=True)
class GivenMask:
    """The final mask, in place of an output of the network."""

    mask: Mask
    origin: MaskOrigin
    low: float = 0.0
    """Least value of the network's output that it was made of, as far as that is known."""
    high: float = 1.0
    """Greatest value of it."""


@dataclass(frozen=True)
class NetworkOutput:
    """The output of the network for an image, and for those of equal bytes."""

    output: Output
    key: Hashable
    """Of `Decoded`."""


@dataclass(frozen=True)
class Inferred:
    """The decoded image and the output of the network for it, unless it needs none."""

    present: Present
    image: SourceImage
    notes: tuple[str, ...]
    output: NetworkOutput | GivenMask
    is_shared: bool = False
    """Whether the output is that of an equal image."""


@dataclass(frozen=True)
class DecodedRedo:
    """A decoded image whose outputs may exist already, at keys that contain its size."""

    decoded: Decoded | Inferred
    """What the item continues with if they do not."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The encoded outputs, and the facts for the record."""

    present: Present
    """The source's ETag, and outputs that need not be written."""
    outputs: tuple[EncodedOutput, ...]
    previews: tuple[bytes, ...]
    """The encoded preview, if the item gets one; no output, and not in the record."""
    width_px: int
    height_px: int
    quality: Mapping[str, Json]
    """Quality figures and the verdict on them."""
    notes: tuple[str, ...]
    mask_hash: str
    """The one of the job's mask hashes that applies to the image."""
    mask_origin: MaskOrigin
    failed: Mapping[str, str]
    """Outputs that could not be rendered, with the reason."""


@dataclass(frozen=True)
class Finished:
    """The item is done or has failed; its record says which."""

    record: ItemRecord


@dataclass(frozen=True)
class Deferred:
    """The item did not finish and nothing is recorded: its ticket is released."""

    waiting_for: str | None = None
    """What the job waits for; None if the item is deferred only because the process leaves."""
    is_outage: bool = False
    """Whether a service is down, so that the ticket rests longer each time."""
    died: bool = False
    """Whether the process leaves as unfit with this item inside, which counts as a death."""


Payload: TypeAlias = (
    Redo | Queued | Reusable | Downloaded | DecodedRedo | Decoded | Inferred | Rendered
)
Outcome: TypeAlias = Finished | Deferred

HOLDING_PIXELS: Final = (DecodedRedo, Decoded, Inferred)
"""Payloads with decoded pixels, which a permit pays for."""
BEFORE_NETWORK: Final = (Redo, Queued, Reusable, Downloaded, DecodedRedo, Decoded)
"""Payloads of items that a draining process defers."""


def encoded_bytes(payload: Payload) -> int:
    """Return how many bytes of encoded images *payload* holds: a source, or outputs."""
    match payload:
        case Reusable():
            return encoded_bytes(payload.source)
        case Downloaded():
            return len(payload.body) + sum(len(each.body) for each in payload.masks)
        case Rendered():
            return sum(each.size_bytes for each in payload.outputs) + sum(
                map(len, payload.previews)
            )
        case _:
            return 0


def has_run(payload: Payload) -> bool:
    """Return whether a batch stage ran for *payload*, and not for an equal image before it."""
    return not (isinstance(payload, Inferred) and payload.is_shared)
