"""The stage between the network and the upload: from its output to encoded files."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from shared.errors import ItemError, RenderFailed, WorkerUnfit
from shared.job.output_keys import BUILT_IN, MASK
from shared.job.outputs import RecipeOutput
from shared.job.spec import ImageOutput, JobSpec, Json
from shared.job.thresholds import Thresholds
from shared.recipes import Recipe
from shared.recipes.background import StoredAsset
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import GivenMask, Inferred, MaskOrigin, NetworkOutput, Rendered
from worker.engine.records import png_texts_of
from worker.engine.shared_masks import SharedMasks
from worker.engine.stage import Executor, Stage
from worker.engine.verdicts import doubted, worst
from worker.imaging.operations import ImageOperations, final_mask
from worker.imaging.render import Cover, RenderSource
from worker.imaging.types import NO_METADATA, Cutout
from worker.storage import AssetBytes, AssetFault, EncodedOutput

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Render(Stage[Inferred]):
    """Make and judge the mask; render, check and encode the outputs, and draw the preview."""

    imaging: ImageOperations
    version: str
    shared: SharedMasks
    name = "render"
    accepts = Inferred
    executor = Executor.CPU

    def run(self, item: Item, payload: Inferred) -> Rendered:
        """See `Stage.run`."""
        request, spec = item.request, item.request.spec
        given = _given_mask(request, payload)
        quality = self._judged(given, spec.thresholds, payload.image.doubts)
        rendering = _Rendering(self.imaging, self.version, request, payload, given)
        outputs, failed = rendering.outputs(quality["verdict"])
        if isinstance(payload.output, NetworkOutput):
            self._share(payload.output.key, given, outputs)
        facts = {name: each.facts for name, each in payload.present.outputs.items()}
        facts |= {each.name: each.facts for each in outputs}
        quality = worst(quality, {name: facts[name] for name in spec.output_names if name in facts})
        height, width = given.mask.shape
        return Rendered(
            present=payload.present,
            outputs=outputs,
            previews=rendering.previews(quality["verdict"]),
            width_px=width,
            height_px=height,
            quality=quality,
            notes=payload.notes,
            mask_hash=spec.mask_hash_of(has_alpha=payload.image.alpha is not None),
            mask_origin=given.origin,
            failed=failed,
        )

    def _judged(
        self, given: GivenMask, limits: Thresholds, doubts: tuple[str, ...]
    ) -> Mapping[str, Json]:
        """Return the figures and verdict for the record."""
        quality = self.imaging.measure(given.mask, given.low, given.high, limits, doubts)
        return quality | ({"mask_from": "alpha"} if given.origin == "alpha" else {})

    def _share(self, key: Hashable, given: GivenMask, outputs: Sequence[EncodedOutput]) -> None:
        """Keep the mask for equal images, if it is encoded anyway."""
        for each in outputs:
            if each.name == MASK:
                self.shared.keep(key, each.files[0], given.low, given.high)


def _given_mask(request: ItemRequest, payload: Inferred) -> GivenMask:
    """Return the final mask."""
    if isinstance(payload.output, GivenMask):
        return payload.output
    height, width = payload.image.pixels.shape[:2]
    segmented = request.model.segmenter.finish(
        payload.output.output, height, width, stretch=request.spec.options.stretch
    )
    mask = final_mask(segmented.mask, payload.image)
    origin: MaskOrigin = "shared" if payload.is_shared else "network"
    return GivenMask(mask, origin, segmented.low, segmented.high)


@dataclass(frozen=True)
class _Rendering:
    """The outputs of one item; what several of them are made of is computed once."""

    imaging: ImageOperations
    version: str
    request: ItemRequest
    payload: Inferred
    given: GivenMask

    def outputs(self, verdict: str) -> tuple[tuple[EncodedOutput, ...], Mapping[str, str]]:
        """Return the outputs that are not present yet, and why others could not be rendered.

        Args:
            verdict: On the mask; an output of a doubtful mask is doubtful, too.
        """
        made: list[EncodedOutput] = []
        failed: dict[str, str] = {}
        recipes = {each.name: each for each in self._spec.outputs}
        for name in self._missing:
            if name not in recipes:
                made.append(self._built_in(name))
                continue
            try:
                made.append(self._recipe(recipes[name], verdict))
            except (MemoryError, WorkerUnfit):
                raise  # the item is tried again
            except RenderFailed as err:
                failed[name] = str(err)
            except Exception as err:
                cause = {"image_key": self.request.image_key, "output": name}
                logger.exception("output not rendered", extra=cause)
                failed[name] = f"{type(err).__name__}: {err}"
        return tuple(made), failed

    @property
    def _missing(self) -> list[str]:
        left_out = {*self.payload.present.outputs, *(BUILT_IN if self._is_hidden else ())}
        return [name for name in self._spec.output_names if name not in left_out]

    def _built_in(self, name: str) -> EncodedOutput:
        options = self._spec.options
        params_hash = self._spec.hash_of(name, has_alpha=self._has_alpha)
        texts = png_texts_of(self.request, self.version, params_hash=params_hash)
        pixels = self.given.mask if name == MASK else self._cutout
        is_kept = options.metadata == "copyright"
        metadata = self.payload.image.metadata if is_kept else NO_METADATA
        body = self.imaging.encode(pixels, texts, metadata, options)
        return EncodedOutput(
            name, {0: body}, options.format.extension, options.format.media_type, params_hash
        )

    def _recipe(self, output: RecipeOutput, verdict: str) -> EncodedOutput:
        recipe = output.recipe
        made = self.imaging.make_output(
            recipe, self._source, self.payload.image.metadata, self._background(recipe)
        )
        facts = doubted(made.facts) if verdict != "ok" else made.facts
        return EncodedOutput(
            output.name,
            made.files,
            recipe.format,
            made.media_type,
            self._spec.hash_of(output.name, has_alpha=self._has_alpha),
            facts,
        )

    def _background(self, recipe: Recipe) -> Cover | None:
        """Return the image that *recipe* names as its background, None if it names none.

        Raises:
            RenderFailed: If it is missing, damaged or cannot be decoded.
        """
        if not isinstance(recipe.background, StoredAsset):
            return None
        match self.request.assets[recipe.background.sha256]:
            case AssetFault(reason):
                raise RenderFailed(reason)
            case AssetBytes(sha256, data):
                try:
                    return self.imaging.cover(sha256, data)
                except ItemError as err:
                    reason = f"the background image {sha256} cannot be decoded: {err}"
                    raise RenderFailed(reason) from err

    def previews(self, verdict: str) -> tuple[bytes, ...]:
        """Return the preview; none if it is not wanted or cannot be drawn."""
        request = self.request
        if self._is_hidden or not request.previews.take(request.index, verdict):
            return ()
        try:
            return (self.imaging.preview(self.payload.image, self._cutout),)
        except MemoryError:
            raise  # the item is tried again
        except Exception:
            logger.exception("preview not drawn", extra={"image_key": request.image_key})
            return ()

    @property
    def _spec(self) -> JobSpec:
        return self.request.spec

    @property
    def _is_hidden(self) -> bool:
        return self._spec.image_output is ImageOutput.HIDE

    @property
    def _has_alpha(self) -> bool:
        return self.payload.image.alpha is not None

    @cached_property
    def _cutout(self) -> Cutout:
        """The cutout; what was cut out already has no background left in its colours."""
        options = self._spec.options
        if self.given.origin == "alpha":
            options = options.model_copy(update={"edges": "source"})
        image, compose = self.payload.image.pixels, self.request.model.compose
        return self.imaging.compose(image, self.given.mask, options, compose)

    @cached_property
    def _source(self) -> RenderSource:
        """What recipes are rendered from, whatever the options of the cutout."""
        pixels = self.payload.image.pixels
        if self.given.origin == "alpha":
            return RenderSource(pixels, pixels, self.given.mask)
        colours = self.imaging.colours(pixels, self.given.mask)
        return RenderSource(pixels, colours, self.given.mask)
