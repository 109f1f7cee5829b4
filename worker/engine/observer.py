"""What the engine reports about its work, for metrics and the event log."""

from collections.abc import Sequence

from worker.engine.item import ItemRequest
from worker.engine.payloads import Outcome


class Observer:
    """Receives events in the threads in which they happen: must be quick and must not raise.

    A method that a subclass does not override does nothing.
    """

    def started(self, name: str, waited_s: float) -> None:
        """Note that a stage starts for one item, which has waited for memory, thread or batch."""

    def stage(self, name: str, took_s: float) -> None:
        """Note that a stage other than a batch has run for one item, or has failed."""

    def batch(
        self,
        name: str,
        requests: Sequence[ItemRequest],
        *,
        wait_s: float,
        took_s: float,
        device_s: float,
    ) -> None:
        """Note that a stage has run a batch, or has failed.

        Args:
            name: Name of the stage.
            requests: The items of the batch.
            wait_s: How long the first of them waited for it, in seconds.
            took_s: How long it took, in seconds, since its launch or the end of the one before.
            device_s: How long the device was busy with it, in seconds, by its own clock.
        """

    def retried(self, request: ItemRequest, stage: str, err: BaseException) -> None:
        """Note that an item goes through a stage again because of a transient error."""

    def ended(self, request: ItemRequest, outcome: Outcome, *, took_s: float) -> None:
        """Note that an item has left the engine, *took_s* after it entered."""
