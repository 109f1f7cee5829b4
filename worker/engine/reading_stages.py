"""The stages that read from the object store: outputs of earlier processes, and sources."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from shared.objects import OpenObject
from worker.engine.circuit_breaker import Direction
from worker.engine.item import Item
from worker.engine.payloads import (
    Decoded,
    DecodedRedo,
    Downloaded,
    Finished,
    Inferred,
    Queued,
    Redo,
    Reusable,
)
from worker.engine.stage import Executor, P, ReadingStage, StoreStage
from worker.storage import OutputWriter, Present, may_have_mask


@dataclass(frozen=True)
class _AskOutputs(StoreStage[P]):
    """Look for outputs that an earlier process has written."""

    writer: OutputWriter
    executor = Executor.DOWNLOAD
    direction = Direction.READ

    def bucket(self, item: Item) -> str:
        """See `StoreStage.bucket`."""
        return item.request.spec.output_bucket

    def probe(self, item: Item) -> None:
        """See `StoreStage.probe`."""
        self.writer.probe_reading(self.bucket(item))


@dataclass(frozen=True)
class Recall(_AskOutputs[Redo]):
    """Take the record of an earlier process that finished the item."""

    name = "recall"
    accepts = Redo

    def run(self, item: Item, payload: Redo) -> Queued | Finished:  # noqa: ARG002 - empty
        """See `Stage.run`."""
        found = self.writer.recall.find(item.request)
        return Queued(found) if isinstance(found, Present) else Finished(found)


@dataclass(frozen=True)
class RecallSized(_AskOutputs[DecodedRedo]):
    """Take the record of an earlier process, if the keys contain the size of the image."""

    name = "recall_sized"
    accepts = DecodedRedo

    def run(self, item: Item, payload: DecodedRedo) -> Decoded | Inferred | Finished:
        """See `Stage.run`."""
        decoded = payload.decoded
        height, width = decoded.image.pixels.shape[:2]
        found = self.writer.recall.find_sized(
            item.request, width=width, height=height, source_etag=decoded.present.source_etag
        )
        return replace(decoded, present=found) if isinstance(found, Present) else Finished(found)


@dataclass(frozen=True)
class FindMask(_AskOutputs[Reusable]):
    """Read the mask that an earlier job made of the source, which spares the network.

    Its bytes are counted but not waited for: the item holds those of its source already.
    """

    name = "find_mask"
    accepts = Reusable

    def run(self, item: Item, payload: Reusable) -> Downloaded:
        """See `Stage.run`."""
        source = payload.source
        found = self.writer.masks.find(item.request, source.present.source_etag)
        return replace(source, masks=found)


@dataclass(frozen=True)
class Download(ReadingStage[Queued]):
    """Read the source."""

    writer: OutputWriter
    name = "download"
    accepts = Queued
    executor = Executor.DOWNLOAD
    direction = Direction.READ

    def open(
        self,
        item: Item,
        payload: Queued,  # noqa: ARG002 - empty
    ) -> AbstractContextManager[OpenObject]:
        """See `ReadingStage.open`."""
        return self.writer.open_source(item.request)

    def read(self, item: Item, opened: OpenObject, payload: Queued) -> Downloaded | Reusable:
        """See `ReadingStage.read`."""
        present = payload.present.of(opened.etag)
        source = Downloaded(present, opened.read())
        return Reusable(source) if may_have_mask(item.request, present) else source

    def bucket(self, item: Item) -> str:
        """See `StoreStage.bucket`."""
        return item.request.spec.input_bucket

    def probe(self, item: Item) -> None:
        """See `StoreStage.probe`."""
        self.writer.probe_reading(self.bucket(item))
