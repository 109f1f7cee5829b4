"""What the engine reports of its work, for metrics and the event log."""

from collections.abc import Sequence
from typing import Protocol

from worker.engine.item import ItemRequest
from worker.engine.payloads import Outcome


class Observer(Protocol):
    """Is called in the thread in which something happens: must be quick and must not raise."""

    def stage(self, name: str, took_s: float) -> None:
        """Note that a stage other than a batch has run for one item, well or not."""

    def batch(
        self, name: str, requests: Sequence[ItemRequest], *, wait_s: float, took_s: float
    ) -> None:
        """Note that a stage has run a batch, and how long the first item waited for it."""

    def retried(self, request: ItemRequest, stage: str, err: BaseException) -> None:
        """Note that an item goes through a stage again because of a transient error."""

    def ended(self, request: ItemRequest, outcome: Outcome, *, took_s: float) -> None:
        """Note that an item has left the engine, *took_s* after it entered."""


class Observers:
    """Passes every call on to each observer, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def stage(self, name: str, took_s: float) -> None:
        """See `Observer.stage`."""
        for each in self._observers:
            each.stage(name, took_s)

    def batch(
        self, name: str, requests: Sequence[ItemRequest], *, wait_s: float, took_s: float
    ) -> None:
        """See `Observer.batch`."""
        for each in self._observers:
            each.batch(name, requests, wait_s=wait_s, took_s=took_s)

    def retried(self, request: ItemRequest, stage: str, err: BaseException) -> None:
        """See `Observer.retried`."""
        for each in self._observers:
            each.retried(request, stage, err)

    def ended(self, request: ItemRequest, outcome: Outcome, *, took_s: float) -> None:
        """See `Observer.ended`."""
        for each in self._observers:
            each.ended(request, outcome, took_s=took_s)
