"""The stages in order, from an image key to its record: reading this list is reading the product.

    key -> recall -> download -> find_mask -> decode -> preprocess -> recall_sized -> forward
    -> postprocess -> render -> encode -> upload -> record

An item goes to the first stage after its last one that accepts its payload. So a stage can skip
others by returning a later payload, and a stage is added by putting it into `build_stages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.job.output_keys import MASK
from shared.job.record import OutputFacts
from shared.job.spec import ImageOutput, JobSpec
from worker.engine.circuit_breaker import Direction
from worker.engine.forward import Forward
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import (
    Decoded,
    DecodedRedo,
    Downloaded,
    Finished,
    GivenMask,
    Inferred,
    Payload,
    Queued,
    Redo,
    Rendered,
)
from worker.engine.reading_stages import Download, FindMask, Recall, RecallSized
from worker.engine.records import record_of
from worker.engine.render import Render
from worker.engine.shared_masks import SharedMasks
from worker.engine.stage import Executor, Stage, Step, StoreStage
from worker.imaging.decode import DecodedImage
from worker.imaging.operations import ImageOperations, own_mask
from worker.imaging.stored_mask import read_mask
from worker.imaging.types import SourceImage
from worker.storage import OutputWriter, PresentOutput, depend_on_size

Stages: TypeAlias = Sequence[Stage[Any]]


def build_stages(
    writer: OutputWriter, imaging: ImageOperations, *, version: str, shared_bytes: int = 0
) -> Stages:
    """Return the stages of the product.

    Args:
        writer: Reads sources and writes outputs.
        imaging: Decodes, judges, composes and encodes.
        version: Of this program, for the text chunks of PNG files.
        shared_bytes: Encoded masks that are kept for equal images; 0: share none.
    """
    shared = SharedMasks(shared_bytes)
    return (
        Recall(writer),
        Download(writer),
        FindMask(writer),
        Decode(imaging, shared),
        RecallSized(writer),
        Forward(shared),
        Render(imaging, version, shared),
        Upload(writer),
    )


@dataclass(frozen=True)
class Decode(Stage[Downloaded]):
    """Decode the source, and prepare it for the network, unless it has a mask already."""

    imaging: ImageOperations
    shared: SharedMasks
    name = "decode"
    accepts = Downloaded
    executor = Executor.CPU
    priority = 1  # behind `Render`: images that are nearly done before those that fill the memory

    def demand(self, item: Item, payload: Downloaded) -> int:
        """See `Stage.demand`: the image, and the largest canvas of its outputs."""
        recipes = (each.recipe for each in item.request.spec.outputs)
        return self.imaging.count_pixels(payload.body, *recipes)

    def run(self, item: Item, payload: Downloaded) -> Decoded | Inferred | DecodedRedo:
        """See `Stage.run`."""
        request, options = item.request, item.request.spec.options
        decoded = self.imaging.decode(payload.body, options, isolate=request.isolate)
        source = decoded.source(keep_alpha=options.alpha != "ignore")
        ready: Decoded | Inferred
        if own := own_mask(decoded, options):
            given = GivenMask(own.mask, "alpha")
            ready = Inferred(payload.present, source, own.notes, given)
        elif stored := _with_stored_mask(payload, request.spec, source, decoded.notes):
            ready = stored
        else:
            ready = self._shared_or_prepared(request, payload, source, decoded)
        may_exist = request.redo and depend_on_size(request)
        return DecodedRedo(ready) if may_exist else ready

    def _shared_or_prepared(
        self, request: ItemRequest, payload: Downloaded, source: SourceImage, decoded: DecodedImage
    ) -> Decoded | Inferred:
        """Return the image with the mask of an equal one, or prepared for the network."""
        key = self.shared.key_of(request, payload.body)
        height, width, _ = decoded.image.shape
        if given := self.shared.find_mask(key, height, width):
            return Inferred(payload.present, source, decoded.notes, given)
        # The network sees the image flattened; the cutout is made of its own colours.
        prepared = request.model.segmenter.prepare(decoded.image)
        return Decoded(payload.present, source, decoded.notes, prepared, key)


def _with_stored_mask(
    payload: Downloaded, spec: JobSpec, source: SourceImage, notes: tuple[str, ...]
) -> Inferred | None:
    """Return *source* with the mask that was found for it; None if the network is needed.

    A mask that this job would write in the same way is present already.
    """
    has_alpha = source.alpha is not None
    height, width = source.pixels.shape[:2]
    for found in payload.masks:
        if not found.hashes.fit(spec, has_alpha=has_alpha):
            continue
        if (mask := read_mask(found.body, height, width)) is None:
            continue
        present = payload.present
        if found.hashes.params == spec.hash_of(MASK, has_alpha=has_alpha):
            size = PresentOutput({0: len(found.body)}, OutputFacts())
            present = present.having(MASK, size)
        given = GivenMask(mask, "reused", found.low, found.high)
        return Inferred(present, source, notes, given)
    return None


@dataclass(frozen=True)
class Upload(StoreStage[Rendered]):
    """Write the preview and the outputs, and build the record of what was written.

    The preview comes first, so that an item whose outputs are found again later has one.
    """

    writer: OutputWriter
    name = "upload"
    accepts = Rendered
    executor = Executor.UPLOAD
    direction = Direction.WRITE

    def run(self, item: Item, payload: Rendered) -> Finished:
        """See `Stage.run`."""
        record = record_of(item, payload)
        for preview in payload.previews:
            self.writer.write_preview(item.request, preview)
        if item.request.spec.image_output is not ImageOutput.HIDE:
            record = self.writer.publish(
                item.request,
                payload.outputs,
                record,
                present=payload.present,
                mask_hash=payload.mask_hash,
            )
        return Finished(record)

    def bucket(self, item: Item) -> str:
        """See `StoreStage.bucket`."""
        return item.request.spec.output_bucket

    def probe(self, item: Item) -> None:
        """See `StoreStage.probe`."""
        self.writer.probe_writing(self.bucket(item))


def first_step(stages: Stages, item: Item) -> Step:
    """Return the first step of an item that enters."""
    payload = Redo() if item.request.redo else Queued()
    return Step(item, next(each for each in stages if each.accepts is type(payload)), payload)


def stage_after(stages: Stages, stage: Stage[Any], payload: Payload) -> Stage[Any]:
    """Return the first of *stages* after *stage* that accepts *payload*."""
    later = stages[stages.index(stage) + 1 :]
    return next(each for each in later if each.accepts is type(payload))
