"""How an output is encoded: a recipe's format, and what is kept of the source's metadata."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from shared.recipes import Recipe
from shared.recipes.formats import Format
from worker.imaging.types import NO_METADATA, SourceMetadata

Subsampling: TypeAlias = Literal["4:4:4", "4:2:2", "4:2:0"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Everything besides the pixels that determines an output's bytes."""

    format: Format
    quality: int = 90
    """1 to 100; of lossy formats."""
    lossless: bool = False
    """For WebP and AVIF, which are lossy otherwise."""
    progressive: bool = False
    """For JPEG, also that of a ZIP."""
    subsampling: Subsampling = "4:4:4"
    """Resolution of colour in JPEG and lossy AVIF; lossy WebP is always 4:2:0."""
    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution in pixels per inch, positive and finite."""
    metadata: SourceMetadata = NO_METADATA
    """What is written of the source's metadata; its resolution is not, `dpi` is."""

    @property
    def is_lossless(self) -> bool:
        """Whether the decoded pixels equal those that were encoded."""
        return self.lossless or self.format in ("png", "tiff")

    @classmethod
    def of(cls, recipe: Recipe, metadata: SourceMetadata) -> "Encoding":
        """Return the encoding of *recipe* for a source with *metadata*."""
        kept = _kept(metadata, recipe.metadata)
        return cls(
            format=recipe.format,
            quality=recipe.quality,
            lossless=recipe.lossless,
            progressive=recipe.progressive,
            subsampling=recipe.subsampling,
            dpi=(recipe.dpi, recipe.dpi) if recipe.dpi else kept.dpi,
            metadata=replace(kept, dpi=None),
        )


def _kept(metadata: SourceMetadata, policy: Literal["none", "copyright", "all"]) -> SourceMetadata:
    """Return what *policy* keeps of *metadata*."""
    match policy:
        case "none":
            return SourceMetadata(digital_source_type=metadata.digital_source_type)
        case "copyright":
            return replace(metadata, title="", description="", credit="", usage_terms="")
        case "all":
            return metadata
