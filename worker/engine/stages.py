"""The one place that knows the order of an item's way, from its key to its record.

    download -> decode -> preprocess -> batch -> forward -> postprocess -> compose -> encode
    -> upload -> record

Which thread runs a stage, and when, is the engine's business; what a stage says about pixels is
the stations'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.job.spec import ImageOutput
from worker.engine.item import Ended, Flow, Stage
from worker.engine.records import done_record, picture_texts
from worker.imaging.compose import combine
from worker.imaging.operations import Stations
from worker.inference.api import Output
from worker.storage.output_writer import DOUBTFUL, Effects


class Pipeline:
    """The stages, top to bottom. Safe to use from several threads, for one item from one.

    Each reads what those before it left in the flow and drops what none after it needs, in its
    last lines: a stage that raised can be run again.
    """

    def __init__(
        self,
        effects: Effects,
        stations: Stations,
        *,
        version: str,
        answered: Callable[[], None],
    ) -> None:
        """*answered* is called whenever the store has done what it was asked for."""
        self._effects = effects
        self._stations = stations
        self._version = version
        self._answered = answered
        self._stages: Final = {
            Stage.DOWNLOAD: self._download,
            Stage.DECODE: self._decode,
            Stage.DRAW: self._draw,
            Stage.UPLOAD: self._upload,
        }

    def run(self, flow: Flow) -> Ended | None:
        """Do what the item's stage says; return how the item ended, None if it goes on.

        Not `Stage.FORWARD`: that is done by the batch and ends with `take_output`.
        """
        return self._stages[Stage(flow.step)](flow)

    def _download(self, flow: Flow) -> Ended | None:
        """Key to bytes; or to the record of what an earlier process did."""
        record = self._effects.recall(flow.work) if flow.work.redo else None
        if record is None:
            body = self._effects.download(flow.work)
            flow.body, flow.source_etag = body.data, body.etag
        self._answered()
        return None if record is None else Ended(record, (record.qc or {}).get("verdict"))

    def count_pixels(self, flow: Flow) -> int:
        """Return how many pixels `Stage.DECODE` will make of the bytes, without making them."""
        return self._stations.peek(flow.body)

    def _decode(self, flow: Flow) -> None:
        """Bytes to picture, and picture to what the network takes."""
        work = flow.work
        decoded = self._stations.decode(flow.body, work.spec.options, work.isolate)
        flow.prepared = work.model.segmenter.prepare(decoded.image)
        flow.image, flow.notes, flow.body = decoded.image, decoded.notes, b""
        if work.spec.options.alpha == "keep" and decoded.alpha is not None:
            # The network saw the picture flattened; the cutout is made of its own colours.
            flow.alpha, flow.image = decoded.alpha, decoded.straight

    def take_output(self, flow: Flow, output: Output) -> None:
        """Take what the network made of the picture."""
        flow.prepared, flow.output = None, output

    def _draw(self, flow: Flow) -> None:
        """Output to mask, figures and verdict; picture and mask to cutout; both to files."""
        work, image, options = flow.work, flow.image, flow.work.spec.options
        if image is None:
            raise RuntimeError("an item came to be drawn without its picture")
        height, width = image.shape[:2]
        segmented = work.model.segmenter.finish(flow.output, height, width, stretch=options.stretch)
        mask = segmented.mask if flow.alpha is None else combine(segmented.mask, flow.alpha)
        figures, flow.verdict = self._stations.measure(
            mask, segmented.low, segmented.high, work.spec.thresholds
        )
        if work.spec.image_output is not ImageOutput.HIDE:
            texts = picture_texts(work, self._version)
            cutout = self._stations.compose(image, mask, options)
            flow.pictures = {
                "mask": self._stations.encode(mask, texts, options),
                "cutout": self._stations.encode(cutout, texts, options),
            }
        flow.record = done_record(flow, width=width, height=height, figures=figures)
        flow.image = flow.alpha = flow.output = None

    def _upload(self, flow: Flow) -> Ended:
        """Files to the bucket, and what was written to the record."""
        if flow.record is None:
            raise RuntimeError("an item came to be uploaded without its record")
        if not flow.pictures:
            return Ended(flow.record, flow.verdict)
        record = self._effects.publish(
            flow.work, flow.pictures, flow.record, source_etag=flow.source_etag
        )
        if flow.work.spec.review_prefix is not None and flow.verdict in DOUBTFUL:
            self._effects.copy_for_review(flow.work, flow.pictures["cutout"])
        self._answered()
        return Ended(record, flow.verdict)
