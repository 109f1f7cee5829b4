"""What a stage is: a function from one payload to the next, and what the engine runs it with."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from shared.objects import OpenObject
from shared.tracebacks import release_frames
from worker.engine.circuit_breaker import Direction, Target
from worker.engine.item import Item, Rank, Resource
from worker.engine.payloads import Finished, Payload

P = TypeVar("P", bound=Payload)


class Executor(StrEnum):
    """The threads that run a stage."""

    DOWNLOAD = "download"
    CPU = "cpu"
    DEVICE = "device"
    """One thread: it runs batches."""
    UPLOAD = "upload"


class Stage(ABC, Generic[P]):
    """One stage. A stage that raised can be run again with the same payload."""

    name: ClassVar[str]
    """Name in metrics and logs."""
    accepts: ClassVar[type[Payload]]
    """Type of the payload that `run` takes."""
    executor: ClassVar[Executor]
    priority: ClassVar[int] = 0
    """Of two stages that share an executor, the lower one goes first, after urgent items."""
    resource: ClassVar[Resource] = Resource.PIXELS
    """What `demand` counts."""

    @abstractmethod
    def run(self, item: Item, payload: P) -> Payload | Finished:
        """Return what *payload* becomes, or how the item ended. Safe in several threads."""

    def shares(self, item: Item) -> Hashable:  # noqa: ARG002 - for stages that wait for a service
        """Return what `run` waits for, of which each gets a share of the threads, or None."""
        return None

    def demand(self, item: Item, payload: P) -> int:  # noqa: ARG002 - for stages that hold memory
        """Return how much of `resource` the item must hold before `run`; 0 for nothing."""
        return 0


class StoreStage(Stage[P]):
    """A stage that asks the object store; it pauses while the breaker of its bucket is open."""

    direction: ClassVar[Direction]

    def shares(self, item: Item) -> Hashable:
        """See `Stage.shares`: a bucket that does not answer must not take all threads."""
        return self.target(item)

    @abstractmethod
    def bucket(self, item: Item) -> str:
        """Return the bucket that `run` asks."""

    def target(self, item: Item, error: BaseException | None = None) -> Target:
        """Return what `run` asks, or what it asked when it raised *error*."""
        return Target(getattr(error, "bucket", "") or self.bucket(item), self.direction)

    @abstractmethod
    def probe(self, item: Item) -> None:
        """Ask the bucket that `run` asks for something other than the item itself.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """


class ReadingStage(StoreStage[P]):
    """A stage that reads an object, and learns from the response how many bytes it has.

    The engine reads if the item may hold them. Otherwise it closes the object unread, and opens it
    again once the item holds a permit for its bytes.
    """

    resource = Resource.BYTES

    @abstractmethod
    def open(self, item: Item, payload: P) -> AbstractContextManager[OpenObject]:
        """Request the object. Safe in several threads."""

    @abstractmethod
    def read(self, item: Item, opened: OpenObject, payload: P) -> Payload:
        """Return what *payload* becomes once the object is read."""

    def run(self, item: Item, payload: P) -> Payload:
        """See `Stage.run`: read without a permit."""
        with self.open(item, payload) as opened:
            return self.read(item, opened, payload)


class BatchRun(Protocol):
    """A batch that a stage has launched."""

    @property
    def images(self) -> int:
        """How many images the device runs; equal ones may run once."""

    @property
    def device_s(self) -> float:
        """How long the device took, in seconds; known once `collect` has returned."""

    def collect(self) -> Sequence[Payload]:
        """Wait for the device; return what the payloads become, in their order. Call it once."""


class BatchStage(Stage[P]):
    """A stage that takes many items of one model at once, in the thread of the device."""

    executor = Executor.DEVICE

    @abstractmethod
    def launch(self, items: Sequence[Item], payloads: Sequence[P]) -> BatchRun:
        """Start the stage for items of one model."""

    def run(self, item: Item, payload: P) -> Payload:
        """See `Stage.run`: a batch of one."""
        return self.launch([item], [payload]).collect()[0]


@dataclass(eq=False)
class Step:
    """An item that is about to go through a stage."""

    item: Item
    stage: Stage[Any]
    payload: Payload
    """Gone once the step has ended: see `forget_payload`."""
    waits_since_s: float | None = None
    """Since when it has waited for memory, a thread or a batch; None while it is delayed."""

    def forget_payload(self, error: BaseException | None = None) -> None:
        """Free the payload of a step that has ended, before its memory is granted to others.

        The threads that ran the step refer to it until they take their next one, and so do the
        tracebacks of *error*, which ended it, and of the errors that led to that one.
        """
        del self.payload
        if error is not None:
            release_frames(error)

    @property
    def share(self) -> Hashable:
        """What the step shares with others: see `Stage.shares`."""
        return self.stage.shares(self.item)

    @property
    def rank(self) -> Rank:
        """Sort key in the queue of the stage's executor: urgent items first, then the stage."""
        not_urgent, *others = self.item.rank
        return (not_urgent, self.stage.priority, *others)
