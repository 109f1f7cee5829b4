"""Make a finished output: draw it, encode it, and check the encoded bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.job.record import OutputFacts
from shared.recipes import Recipe
from shared.recipes.checks import Checks
from shared.recipes.formats import MEDIA_TYPES
from worker.imaging.compliance import Context, check, checks_of
from worker.imaging.compliance.fixes import Complied, comply
from worker.imaging.encode.encoding import Encoding
from worker.imaging.encode.formats import encode
from worker.imaging.render import Cover, Drawn, RenderSource, at_width, draw
from worker.imaging.types import SourceMetadata


@dataclass(frozen=True)
class MadeOutput:
    """One output of an image."""

    files: Mapping[int, bytes]
    """By width; one file under 0 unless the recipe has widths."""
    media_type: str
    facts: OutputFacts


def make_output(
    recipe: Recipe,
    source: RenderSource,
    metadata: SourceMetadata,
    *,
    background_image: Cover | None = None,
) -> MadeOutput:
    """Return the output that *recipe* describes: its files, and what the checks found.

    An output in several widths is checked at its widest. A pure function of its arguments.

    Args:
        recipe: What the output looks like.
        source: Image, foreground colours and mask.
        metadata: What outputs may keep of the source's metadata.
        background_image: The image that the recipe's background names.
    """
    drawn = draw(source, recipe, background_image=background_image)
    sized = {width: at_width(drawn, width) if width else drawn for width in recipe.widths or (0,)}
    widest = sized[max(sized)]
    checks, context = checks_of(recipe), context_of(recipe, widest)
    first = Encoding.of(recipe, metadata)
    complied = comply(
        lambda encoding: encode(widest.pixels, encoding),
        # Without checks nothing needs the file decoded.
        lambda data: check(data, checks, context) if checks != Checks() else (),
        first,
    )
    last = complied.fixes[-1].encoding if complied.fixes else first
    files = {
        width: complied.data if each is widest else encode(each.pixels, last)
        for width, each in sized.items()
    }
    return MadeOutput(files, MEDIA_TYPES[recipe.format], _facts(recipe, widest, complied, files))


def context_of(recipe: Recipe, drawn: Drawn) -> Context:
    """Return what the checks of an output are told besides its bytes."""
    return Context(
        extension=recipe.format,
        fill_of=recipe.fill_of,
        mask=drawn.mask,
        cut=frozenset(drawn.placement.cut),
        upscaled=drawn.placement.upscaled,
    )


def _facts(
    recipe: Recipe, drawn: Drawn, complied: Complied, files: Mapping[int, bytes]
) -> OutputFacts:
    failed = [each for each in complied.findings if each.state == "failed"]
    must = {each.check: (each.value, each.limit) for each in failed if each.level == "must"}
    should = {each.check: (each.value, each.limit) for each in failed if each.level == "should"}
    canvas = drawn.placement.canvas
    return OutputFacts(
        bytes=len(complied.data),
        width=canvas.width_px,
        height=canvas.height_px,
        format=recipe.format,
        verdict="review" if must else "ok",
        failed=must,
        noted=should,
        fixes=tuple(dict.fromkeys(fix.name for fix in complied.fixes)),
        upscaled=round(drawn.placement.upscaled, 3),
        widths={width: len(data) for width, data in files.items() if width},
    )
