"""The stages in order, from an image key to its record: reading this list is reading the product.

    key -> download -> decode -> preprocess -> forward -> postprocess -> render -> encode
    -> upload -> record

An item goes to the first stage after its last one that accepts its payload. So a stage can skip
others by returning a later payload, and a stage is added by putting it into `build_stages`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.job.spec import ImageOutput, Json, PictureOptions
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import (
    Decoded,
    Downloaded,
    Finished,
    Inferred,
    OwnAlpha,
    Payload,
    Queued,
    Rendered,
)
from worker.engine.records import done_record, png_texts_of
from worker.engine.stage import BatchStage, Executor, Stage, StoreStage
from worker.imaging.decode import FLATTENED
from worker.imaging.operations import ImageOperations, final_mask
from worker.imaging.own_alpha import ALREADY_CUT_OUT, is_cutout
from worker.imaging.types import Cutout, Mask
from worker.storage import OutputWriter

Stages: TypeAlias = Sequence[Stage[Any]]


def build_stages(writer: OutputWriter, imaging: ImageOperations, *, version: str) -> Stages:
    """Return the stages of the product.

    Args:
        writer: Reads sources and writes outputs.
        imaging: Decodes, judges, composes and encodes.
        version: Of this program, for the text chunks of PNG files.
    """
    return (
        Download(writer),
        Decode(imaging),
        Forward(),
        Render(imaging, version),
        Upload(writer),
    )


@dataclass(frozen=True)
class Download(StoreStage[Queued]):
    """Read the source; or take the record of an earlier process that finished the item."""

    writer: OutputWriter
    name = "download"
    accepts = Queued
    executor = Executor.DOWNLOAD

    def run(self, item: Item, payload: Queued) -> Downloaded | Finished:  # noqa: ARG002 - empty
        """See `Stage.run`."""
        if item.request.redo and (record := self.writer.recall(item.request)) is not None:
            return Finished(record)
        body = self.writer.download(item.request)
        return Downloaded(body.etag, body.data)

    def probe(self, item: Item) -> None:
        """See `StoreStage.probe`."""
        self.writer.probe_reading(item.request.spec.input_bucket)


@dataclass(frozen=True)
class Decode(Stage[Downloaded]):
    """Decode the source, and prepare it for the network, unless its own alpha is its mask."""

    imaging: ImageOperations
    name = "decode"
    accepts = Downloaded
    executor = Executor.CPU
    priority = 1  # behind `Render`: images that are nearly done before those that fill the memory

    def pixels(self, payload: Downloaded) -> int:
        """See `Stage.pixels`."""
        return self.imaging.count_pixels(payload.body)

    def run(self, item: Item, payload: Downloaded) -> Decoded | Inferred:
        """See `Stage.run`."""
        request, options = item.request, item.request.spec.options
        decoded = self.imaging.decode(payload.body, options, isolate=request.isolate)
        source = decoded.source(
            keep_alpha=options.alpha != "ignore", keep_metadata=options.metadata == "copyright"
        )
        if options.alpha == "auto" and source.alpha is not None and is_cutout(source.alpha):
            # No network: it would cut into the solid parts of what is cut out already.
            notes = [note for note in decoded.notes if not note.startswith(FLATTENED)]
            own = OwnAlpha(source.alpha)
            return Inferred(payload.etag, source, (*notes, ALREADY_CUT_OUT), own)
        # The network sees the image flattened; the cutout is made of its own colours.
        prepared = request.model.segmenter.prepare(decoded.image)
        return Decoded(payload.etag, source, decoded.notes, prepared)


@dataclass(frozen=True)
class Forward(BatchStage[Decoded]):
    """Run the network over a batch."""

    name = "forward"
    accepts = Decoded

    def run_batch(self, items: Sequence[Item], payloads: Sequence[Decoded]) -> list[Payload]:
        """See `BatchStage.run_batch`."""
        segmenter = items[0].request.model.segmenter
        outputs = segmenter.forward([payload.prepared for payload in payloads])
        return [
            Inferred(payload.etag, payload.image, payload.notes, output)
            for payload, output in zip(payloads, outputs, strict=True)
        ]


@dataclass(frozen=True)
class Render(Stage[Inferred]):
    """Turn the network's output into a mask and judge it; compose and encode the outputs."""

    imaging: ImageOperations
    version: str
    name = "render"
    accepts = Inferred
    executor = Executor.CPU

    def run(self, item: Item, payload: Inferred) -> Rendered:
        """See `Stage.run`."""
        request, spec, source = item.request, item.request.spec, payload.image
        mask, quality = self._judged(request, payload)
        params_hash = spec.params_hash_of(has_alpha=source.alpha is not None)
        outputs: dict[str, bytes] = {}
        if spec.image_output is not ImageOutput.HIDE:
            texts = png_texts_of(request, self.version, params_hash=params_hash)
            cutout = self._composed(payload, mask, spec.options)
            outputs = {
                name: self.imaging.encode(pixels, texts, source.metadata, spec.options)
                for name, pixels in (("mask", mask), ("cutout", cutout))
            }
        height, width = mask.shape
        return Rendered(
            etag=payload.etag,
            outputs=outputs,
            width_px=width,
            height_px=height,
            quality=quality,
            notes=payload.notes,
            params_hash=params_hash,
        )

    def _judged(self, request: ItemRequest, payload: Inferred) -> tuple[Mask, Mapping[str, Json]]:
        """Return the final mask and the figures and verdict for the record."""
        limits = request.spec.thresholds
        if isinstance(payload.output, OwnAlpha):
            mask = payload.output.mask
            return mask, {**self.imaging.measure(mask, 0.0, 1.0, limits), "mask_from": "alpha"}
        height, width = payload.image.pixels.shape[:2]
        segmented = request.model.segmenter.finish(
            payload.output, height, width, stretch=request.spec.options.stretch
        )
        mask = final_mask(segmented.mask, payload.image)
        return mask, self.imaging.measure(mask, segmented.low, segmented.high, limits)

    def _composed(self, payload: Inferred, mask: Mask, options: PictureOptions) -> Cutout:
        """Return the cutout; what was cut out already has no background left in its colours."""
        if isinstance(payload.output, OwnAlpha):
            options = options.model_copy(update={"edges": "source"})
        return self.imaging.compose(payload.image.pixels, mask, options)


@dataclass(frozen=True)
class Upload(StoreStage[Rendered]):
    """Write the outputs, and build the record of what was written."""

    writer: OutputWriter
    name = "upload"
    accepts = Rendered
    executor = Executor.UPLOAD

    def run(self, item: Item, payload: Rendered) -> Finished:
        """See `Stage.run`."""
        record = done_record(item, payload)
        if payload.outputs:
            record = self.writer.publish(
                item.request,
                payload.outputs,
                record,
                source_etag=payload.etag,
                params_hash=payload.params_hash,
            )
        return Finished(record)

    def probe(self, item: Item) -> None:
        """See `StoreStage.probe`."""
        self.writer.probe_writing(item.request.spec.output_bucket)


def stage_after(stages: Stages, stage: Stage[Any], payload: Payload) -> Stage[Any]:
    """Return the first of *stages* after *stage* that accepts *payload*."""
    later = stages[stages.index(stage) + 1 :]
    return next(each for each in later if each.accepts is type(payload))
