"""What the engine tells of its work to whoever counts it or writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from worker.engine.item import Outcome, Stage
from worker.storage.item_ref import Work

STAGES: Final = tuple(stage.name.lower() for stage in Stage)
"""As metrics name them, in the order of an item's way."""


class Observer(Protocol):
    """Is told what happens, in the thread in which it happens: must be quick and not raise."""

    def stage(self, name: str, took_s: float) -> None:
        """Note that a stage other than `forward` is over with one item, well or not."""
        ...

    def batch(self, works: Sequence[Work], *, wait_s: float, forward_s: float) -> None:
        """Note a batch: what was in it, how long its first item waited, how long it took."""
        ...

    def retried(self, work: Work, stage: str, err: BaseException) -> None:
        """Note that an item goes through a stage again, because of a transient fault."""
        ...

    def ended(self, work: Work, outcome: Outcome, *, took_s: float) -> None:
        """Note that an item has left the engine, *took_s* after it was taken."""
        ...


class Observers:
    """Passes everything on, in order. With none it is what nobody listens to."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def stage(self, name: str, took_s: float) -> None:
        """See `Observer.stage`."""
        for each in self._observers:
            each.stage(name, took_s)

    def batch(self, works: Sequence[Work], *, wait_s: float, forward_s: float) -> None:
        """See `Observer.batch`."""
        for each in self._observers:
            each.batch(works, wait_s=wait_s, forward_s=forward_s)

    def retried(self, work: Work, stage: str, err: BaseException) -> None:
        """See `Observer.retried`."""
        for each in self._observers:
            each.retried(work, stage, err)

    def ended(self, work: Work, outcome: Outcome, *, took_s: float) -> None:
        """See `Observer.ended`."""
        for each in self._observers:
            each.ended(work, outcome, took_s=took_s)
