"""One item inside the engine."""

from dataclasses import dataclass, field
from enum import StrEnum
from queue import SimpleQueue
from typing import TypeAlias

from worker.engine.payloads import Outcome
from worker.engine.preview_selection import PreviewSelection, no_previews
from worker.inference import Model
from worker.storage import Assets, ItemRef

Rank: TypeAlias = tuple[int | bool, ...]
"""Sort key of a queue: lower goes first. No two items have the same."""


def is_urgent(rank: Rank) -> bool:
    """Return whether *rank* is that of an urgent item: such items go first in every queue."""
    return not rank[0]


class Resource(StrEnum):
    """Memory that items hold permits for."""

    PIXELS = "pixels"
    """Decoded pixels."""
    BYTES = "bytes"
    """Bytes of encoded images: sources and outputs."""


@dataclass(frozen=True, kw_only=True)
class ItemRequest(ItemRef):
    """One item as a ticket hands it to the engine."""

    model: Model
    attempts_before: int = 0
    """Attempts of earlier generations and processes, as far as they are known."""
    redo: bool = False
    """Whether it may have been done already: then the bucket is asked first."""
    isolate: bool = False
    """Whether it is decoded in a child process whatever its format."""
    urgent: bool = False
    """Whether it goes before others in every queue."""
    previews: PreviewSelection = field(default_factory=no_previews, compare=False)
    """Whether it gets a preview; shared by the items of its ticket."""
    assets: Assets = field(default_factory=dict, compare=False, repr=False)
    """Images that recipes of its job name; shared by the items of its ticket."""


@dataclass(frozen=True)
class ItemResult:
    """How one item left the engine."""

    request: ItemRequest
    outcome: Outcome


@dataclass(eq=False)
class Item:
    """The mutable state of an item; what its image has become is in the payload."""

    request: ItemRequest
    results: SimpleQueue[ItemResult]
    """Gets the result, once."""
    order: int
    """Place in arrival order."""
    started_at_s: float
    """When it entered the engine, in seconds of the monotonic clock."""
    attempts: int = 0
    """Failed attempts that count."""
    held: dict[Resource, int] = field(default_factory=lambda: dict.fromkeys(Resource, 0))
    """What this item holds permits for; only `Holdings` changes it."""
    is_upstream: bool = True
    """Whether it may still come to the device."""
    is_waiting: bool = False
    """Whether it waits for a bucket that is down, or for memory of the device."""
    is_suspect: bool = False
    """Whether the network failed on it: others go first, to show whether the device works."""
    has_left: bool = False

    @property
    def rank(self) -> Rank:
        """Urgent items first, then in order of arrival, and suspects behind others."""
        return (not self.request.urgent, self.is_suspect, self.order)
