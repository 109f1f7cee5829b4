"""Image operations that the engine calls between download and upload, apart from the model."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.job.options import PictureOptions
from shared.job.spec import Json
from shared.job.thresholds import Thresholds
from shared.recipes import Recipe
from shared.recipes.values import Size
from worker.imaging.backgrounds import Backgrounds
from worker.imaging.compose import Compose, combine, solid
from worker.imaging.decode import (
    FLATTENED,
    DecodedImage,
    Limits,
    decode,
    needs_isolation,
    peek,
    sniff,
)
from worker.imaging.decode.isolated.decoder import IsolatedDecoder
from worker.imaging.encode import ENCODERS
from worker.imaging.outputs import MadeOutput, make_output
from worker.imaging.own_alpha import ALREADY_CUT_OUT, is_cutout
from worker.imaging.preview import preview
from worker.imaging.quality import measure
from worker.imaging.render import Cover, RenderSource, edge_colours, most_canvas_px, on_white
from worker.imaging.types import Cutout, Mask, RgbImage, SourceImage, SourceMetadata
from worker.imaging.verdict import judge


class ImageOperations:
    """The image operations of a worker; thread-safe.

    JPEG and PNG are decoded in the calling thread. Other formats, whose C parsers are less tested,
    and items suspected of having killed a worker are decoded in child processes.

    Args:
        max_pixels: Largest image that is accepted, in pixels.
        max_bytes: Largest file that is accepted, in bytes.
        children: Maximum number of child processes; they start on demand.
    """

    def __init__(self, *, max_pixels: int, max_bytes: int, children: int) -> None:
        self._limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes)
        self._isolated = IsolatedDecoder(self._limits, children=children)
        self._backgrounds = Backgrounds(self._background)

    def count_pixels(self, data: bytes, *recipes: Recipe) -> int:
        """Return how many pixels *data* decodes to, from its header alone, and outputs of it need.

        Outputs are rendered one after the other, so that the largest canvas counts.

        Raises:
            ItemError: If *data* exceeds a limit or is not an image that can be decoded.
        """
        header = peek(data, self._limits)
        size = Size(header.width, header.height)
        canvas_px = max((most_canvas_px(each, size) for each in recipes), default=0)
        return header.width * header.height + canvas_px

    def decode(self, data: bytes, options: PictureOptions, *, isolate: bool) -> DecodedImage:
        """Decode *data*; with *isolate* always in a child process, whatever the format.

        Raises:
            ItemError: If *data* exceeds a limit or cannot be decoded.
            WorkerUnfit: If no child process can be started.
        """
        if isolate or needs_isolation(sniff(data)):
            return self._isolated.decode(data, truncated=options.truncated)
        return decode(data, self._limits, truncated=options.truncated)

    def measure(
        self,
        mask: Mask,
        low: float,
        high: float,
        thresholds: Thresholds,
        doubts: tuple[str, ...] = (),
    ) -> dict[str, Json]:
        """Return the quality figures of *mask* as records hold them.

        Includes `verdict` and, unless that is `ok`, `reasons`.

        Args:
            mask: The final mask.
            low: Least value of the network's output, 0 to 1.
            high: Greatest value of it.
            thresholds: Limits beyond which a figure is doubtful.
            doubts: Signs of damage in the source.
        """
        figures = measure(mask, low=low, high=high)
        verdict = judge(figures, thresholds, doubts)
        reasons = {"reasons": "; ".join(verdict.reasons)} if verdict.reasons else {}
        return figures.to_json() | {"verdict": verdict.verdict} | reasons

    def compose(
        self, image: RgbImage, mask: Mask, options: PictureOptions, compose: Compose
    ) -> Cutout:
        """Return the cutout of *image*, with *mask* as its alpha, made `solid` if so configured.

        *compose* is that of the item's model.
        """
        alpha = solid(mask) if options.solid == "on" else mask
        return compose(image, alpha, edges=options.edges)

    def colours(self, image: RgbImage, mask: Mask) -> RgbImage:
        """Return the foreground colours of *image*, which outputs are rendered from."""
        return edge_colours(image, mask)

    def cover(self, sha256: str, data: bytes) -> Cover:
        """Return what covers canvases with the image *data*; see `Backgrounds.cover`."""
        return self._backgrounds.cover(sha256, data)

    def make_output(
        self,
        recipe: Recipe,
        source: RenderSource,
        metadata: SourceMetadata,
        background_image: Cover | None = None,
    ) -> MadeOutput:
        """Return the output that *recipe* describes; see `worker.imaging.outputs`."""
        return make_output(recipe, source, metadata, background_image=background_image)

    def encode(
        self,
        pixels: Cutout | Mask,
        texts: Mapping[str, str],
        metadata: SourceMetadata,
        options: PictureOptions,
    ) -> bytes:
        """Return *pixels* as a file of the job's format, with the text chunks *texts*.

        *metadata* of the source is written as the format provides.

        Raises:
            InvalidOption: If a keyword or text is not allowed in a PNG.
        """
        return ENCODERS[options.format](pixels, texts, metadata, options)

    def preview(self, source: SourceImage, cutout: Cutout) -> bytes:
        """Return both images side by side in a small WebP file; see `worker.imaging.preview`."""
        return preview(source, cutout)

    def _background(self, data: bytes) -> RgbImage:
        """Decode a background in a child process, whatever its format: it is decoded rarely."""
        decoded = self._isolated.decode(data, truncated="fail").source(keep_alpha=True)
        return decoded.pixels if decoded.alpha is None else on_white(decoded.pixels, decoded.alpha)

    def close(self) -> None:
        """End the child processes; calls that wait for one raise `WorkerUnfit`. Repeatable."""
        self._isolated.close()


@dataclass(frozen=True)
class OwnMask:
    """The alpha of an image that is cut out already, and the notes of the image then."""

    mask: Mask
    notes: tuple[str, ...]


def own_mask(decoded: DecodedImage, options: PictureOptions) -> OwnMask | None:
    """Return the mask of an image that is cut out already, or None.

    It needs no network, which would cut into the solid parts of what is cut out already.
    """
    if options.alpha != "auto" or decoded.alpha is None or not is_cutout(decoded.alpha):
        return None
    kept = [note for note in decoded.notes if not note.startswith(FLATTENED)]
    return OwnMask(decoded.alpha, (*kept, ALREADY_CUT_OUT))


def final_mask(mask: Mask, source: SourceImage) -> Mask:
    """Return *mask*, multiplied by the alpha of *source* where that is kept."""
    return mask if source.alpha is None else combine(mask, source.alpha)
