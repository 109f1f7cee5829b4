"""What travels through the engine: the work that comes in, what is known so far, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from shared.job.record import ItemRecord
from worker.imaging.types import Mask, RgbImage
from worker.inference.api import Output, Prepared
from worker.storage.item_ref import Work


class Stage(IntEnum):
    """What an item goes through, in this order; an item's step is one of these."""

    DOWNLOAD = 0
    DECODE = 1
    FORWARD = 2
    DRAW = 3
    UPLOAD = 4


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
