"""What items hold in memory: the one place that acquires and releases permits.

No wait can become circular. An item asks for bytes while it holds nothing, and for pixels while it
holds the bytes of its source. An item that holds pixels asks for nothing more.
"""

import threading
from dataclasses import dataclass

from worker.engine.item import Item, Resource
from worker.engine.payloads import HOLDING_PIXELS, Finished, Payload, encoded_bytes
from worker.engine.permits import Permits
from worker.engine.scheduler import StageScheduler
from worker.engine.stage import ReadingStage, Step


@dataclass(frozen=True)
class Unread:
    """An object was closed unread: its bytes do not fit now."""

    size_bytes: int


class Holdings:
    """Permits of all items. Safe in several threads; each item is in one at a time.

    Decoded pixels are held from before the decode stage until a payload without them. Bytes of
    encoded images are held from the response to the download until the decode stage ends, and from
    the render stage until the upload ends. The render stage does not wait for bytes: its outputs
    are in memory when their size is known, and waiting would block a CPU thread that could free
    pixels. So outputs may exceed the limit, and downloads wait until it holds again.
    """

    def __init__(self, scheduler: StageScheduler, *, budget_px: int, budget_bytes: int) -> None:
        self._scheduler = scheduler
        self.pixels = Permits(budget_px, urgent_exceed=True)
        self.bytes = Permits(budget_bytes)
        self._permits = {Resource.PIXELS: self.pixels, Resource.BYTES: self.bytes}
        self._lock = threading.Lock()

    def cover(self, step: Step) -> bool:
        """Return whether the item holds what its stage demands, else ask for it.

        A granted step is queued again, by this thread or by the one that releases the memory.
        """
        if step.item.held[step.stage.resource]:
            return True
        amount = step.stage.demand(step.item, step.payload)
        if amount:
            self._request(step, amount)
        return not amount

    def run(self, step: Step) -> Payload | Finished | Unread:
        """Run the stage; if it reads an object, only read what the item may hold."""
        if not isinstance(step.stage, ReadingStage):
            return step.stage.run(step.item, step.payload)
        with step.stage.open(step.item, step.payload) as opened:
            if self._raise(step, opened.size_bytes):
                return step.stage.read(step.item, opened, step.payload)
            return Unread(opened.size_bytes)

    def read_later(self, step: Step, unread: Unread) -> None:
        """Ask for the bytes of an object that was closed unread, as `cover` does.

        What the item held for an earlier, smaller version of the object is released first: two
        items that keep a part and wait for the rest would wait for each other.
        """
        self.settle(step.item, step.payload)
        self._request(step, unread.size_bytes)

    def settle(self, item: Item, payload: Payload) -> None:
        """Let the item hold what *payload* needs: release the rest, count outputs."""
        pixels = item.held[Resource.PIXELS] if isinstance(payload, HOLDING_PIXELS) else 0
        self._set(item, Resource.PIXELS, pixels)
        self._set(item, Resource.BYTES, encoded_bytes(payload))

    def release(self, item: Item) -> None:
        """Release all that the item holds."""
        for resource in Resource:
            self._set(item, resource, 0)

    def waiting(self) -> list[Step]:
        """Return the steps that wait for memory."""
        return [step for permits in self._permits.values() for step in permits.waiting()]

    def withdraw(self) -> list[Step]:
        """Remove and return all steps that wait for memory."""
        return [step for permits in self._permits.values() for step in permits.withdraw()]

    def _raise(self, step: Step, size_bytes: int) -> bool:
        """Let the item hold *size_bytes* if that is possible at once; return whether it is."""
        held = step.item.held[Resource.BYTES]
        if size_bytes <= held:
            return True
        if not self.bytes.try_raise(held, size_bytes, step.rank):
            return False
        step.item.held[Resource.BYTES] = size_bytes
        return True

    def _request(self, step: Step, amount: int) -> None:
        """Ask for memory: the step waits on."""
        resource = step.stage.resource
        self._queue(resource, self._permits[resource].request(step, amount, step.rank))

    def _set(self, item: Item, resource: Resource, amount: int) -> None:
        with self._lock:
            change = amount - item.held[resource]
            item.held[resource] = amount
        if change > 0:
            self._permits[resource].take(change)
        elif change < 0:
            self._queue(resource, self._permits[resource].release(-change))

    def _queue(self, resource: Resource, granted: list[tuple[Step, int]]) -> None:
        for step, amount in granted:
            step.item.held[resource] = amount
            self._scheduler.put(step)
