"""The stage between the network and the upload: from its output to encoded files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from shared.job.options import PictureOptions
from shared.job.spec import ImageOutput, Json
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import Inferred, OwnAlpha, Rendered
from worker.engine.records import png_texts_of
from worker.engine.stage import Executor, Stage
from worker.imaging.operations import ImageOperations, final_mask
from worker.imaging.types import Cutout, Mask, SourceImage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Render(Stage[Inferred]):
    """Make and judge the mask; compose and encode the outputs, and draw the preview."""

    imaging: ImageOperations
    version: str
    name = "render"
    accepts = Inferred
    executor = Executor.CPU

    def run(self, item: Item, payload: Inferred) -> Rendered:
        """See `Stage.run`."""
        request, spec, source = item.request, item.request.spec, payload.image
        mask, quality = self._judged(request, payload)
        params_hash = spec.hash_of("cutout", has_alpha=source.alpha is not None)
        outputs: dict[str, bytes] = {}
        previews: tuple[bytes, ...] = ()
        if spec.image_output is not ImageOutput.HIDE:
            texts = png_texts_of(request, self.version, params_hash=params_hash)
            cutout = self._composed(payload, mask, spec.options)
            outputs = {
                name: self.imaging.encode(pixels, texts, source.metadata, spec.options)
                for name, pixels in (("mask", mask), ("cutout", cutout))
            }
            if request.previews.take(request.index, quality["verdict"]):
                previews = self._previews(request, source, cutout)
        height, width = mask.shape
        return Rendered(
            etag=payload.etag,
            outputs=outputs,
            previews=previews,
            width_px=width,
            height_px=height,
            quality=quality,
            notes=payload.notes,
            params_hash=params_hash,
        )

    def _judged(self, request: ItemRequest, payload: Inferred) -> tuple[Mask, Mapping[str, Json]]:
        """Return the final mask and the figures and verdict for the record."""
        limits, doubts = request.spec.thresholds, payload.image.doubts
        if isinstance(payload.output, OwnAlpha):
            mask = payload.output.mask
            return mask, {
                **self.imaging.measure(mask, 0.0, 1.0, limits, doubts),
                "mask_from": "alpha",
            }
        height, width = payload.image.pixels.shape[:2]
        segmented = request.model.segmenter.finish(
            payload.output, height, width, stretch=request.spec.options.stretch
        )
        mask = final_mask(segmented.mask, payload.image)
        return mask, self.imaging.measure(mask, segmented.low, segmented.high, limits, doubts)

    def _composed(self, payload: Inferred, mask: Mask, options: PictureOptions) -> Cutout:
        """Return the cutout; what was cut out already has no background left in its colours."""
        if isinstance(payload.output, OwnAlpha):
            options = options.model_copy(update={"edges": "source"})
        return self.imaging.compose(payload.image.pixels, mask, options)

    def _previews(
        self, request: ItemRequest, source: SourceImage, cutout: Cutout
    ) -> tuple[bytes, ...]:
        """Return the preview; none if it cannot be drawn, for which no item fails."""
        try:
            return (self.imaging.preview(source, cutout),)
        except MemoryError:
            raise  # the item is tried again
        except Exception:
            logger.exception("preview not drawn", extra={"image_key": request.image_key})
            return ()
