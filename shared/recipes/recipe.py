"""What a finished image looks like: a recipe, as TOML, JSON or Python."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shared.document import Document, Text
from shared.recipes.background import (
    Background,
    NoBackground,
    background_schema,
    parse_background,
)
from shared.recipes.checks import Checks
from shared.recipes.formats import FORMAT_NAMES, Format
from shared.recipes.parsing import Parsed, parse_bytes, parse_share, parts
from shared.recipes.values import (
    Align,
    Aspect,
    Canvas,
    Insets,
    Position,
    Roi,
    Size,
    parse_canvas,
    parse_position,
)

SHORT_FORMS: Final = {"enlarge": "max_upscale", "gravity": "position", "scale": "fill"}
"""Names of fields that other tools use."""
MAX_WIDTHS: Final = 16

SizeField: TypeAlias = Annotated[Size, Parsed(Size.parse, ("2000x2000", "1801x2600"))]
InsetsField: TypeAlias = Annotated[Insets, Parsed(Insets.parse, ("5%", "30px 5%"))]
ByteCount: TypeAlias = Annotated[int, BeforeValidator(parse_bytes)]
Share: TypeAlias = Annotated[float, BeforeValidator(parse_share)]


class Shadow(Document):
    """A soft contact shadow, made from the mask."""

    opacity: Share = 0.35
    """Of the darkest part."""
    blur: Share = 0.03
    """Standard deviation, as a share of the subject's height."""
    offset: tuple[float, float] = (0.0, 0.02)
    """To the right and down, as shares of the subject's height."""


class Source(Document):
    """Where the figures of a preset come from."""

    title: str
    address: str
    read: date
    """Day on which the page was read."""


def _shadow(value: object) -> object:
    named: dict[object, object] = {"none": None, "soft": {}, True: {}, False: None}
    return named.get(value, value) if isinstance(value, str | bool) else value


class Recipe(Document):
    """How to make one finished image from a source and its mask.

    Each field is checked here, and whether they go together in `shared.recipes.rules`.
    `NOT_RENDERED` lists the fields that do not change the bytes.
    """

    name: str = Field(default="", pattern=r"^([a-z][a-z0-9-]{0,63})?$")
    """Name of the output; that of the recipe file if empty."""
    comment: Text = ""
    version: int = Field(default=0, ge=0)
    """Version of a preset."""
    source: Source | None = None
    unverified: bool = False
    """Whether no official page was found for the figures."""
    on_review: Literal["write", "hold"] = "write"
    """Where an output goes that fails a check: beside the others, or below `held/`."""

    format: Format = "png"
    quality: int = Field(default=90, ge=1, le=100)
    lossless: bool = False
    progressive: bool = False
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:4:4"
    max_bytes: ByteCount | None = None
    min_bytes: ByteCount | None = None
    dpi: float | None = Field(default=None, gt=0, le=65535)
    metadata: Literal["none", "copyright", "all"] = "copyright"

    size: Annotated[Canvas, Parsed(parse_canvas, ("original", "2000x2000"))] | None = None
    """Canvas that is wished for; `original` is the source's, as without any field of the group."""
    min_size: SizeField | None = None
    """Least canvas, if the subject is too small for `size` without enlarging it."""
    aspect: Annotated[Aspect, Parsed(Aspect.parse, ("1:1", "3:4"))] | None = None
    longest_px: int | None = Field(default=None, ge=1, le=65535)
    megapixels: float | None = Field(default=None, gt=0, le=64)
    fit: Literal["contain", "cover", "limit"] = "contain"
    widths: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), max_length=MAX_WIDTHS
    )
    """Widths in pixels of one output in several sizes; empty for one of the canvas's size."""
    background: Annotated[Background, Parsed(parse_background, schema=background_schema)] = (
        NoBackground()
    )

    roi: Annotated[Roi, Parsed(Roi.parse, ("10% 10% 90% 90%",))] | None = None
    """Part of the source outside of which nothing belongs to the subject."""
    crop: bool = False
    crop_margin: InsetsField | None = None
    """Room around a cropped subject, in px or % of the subject's size."""
    fill: Share | None = Field(default=None, gt=0)
    fill_of: Literal["longest_side", "box_area", "mask_area"] = "longest_side"
    padding: InsetsField | None = None
    """Room around the subject in px or % of the canvas; ignored where the source cuts it."""
    margin: InsetsField | None = None
    """Room that always stays free, in px or % of the canvas."""
    position: Annotated[Position, Parsed(parse_position, ("centre", "50% 80%"))] = "auto"
    align: Annotated[Align, Parsed(Align.parse, ("bottom", "top left"))] = Align()
    max_upscale: float = Field(default=1.0, ge=1, le=16)

    offset_px: int = Field(default=0, ge=-100, le=100)
    """Pixels of the source by which the mask grows, or shrinks if negative."""
    blur_px: float = Field(default=0.0, ge=0, le=100)
    threshold: int | None = Field(default=None, ge=1, le=255)
    """Level from which the mask is opaque, and below which it is transparent."""
    invert: bool = False
    fill_holes: Share = 0.0
    """Holes up to this share of the subject's area are filled; 1 or true fills all."""
    remove_specks: Share = 0.0
    """Parts up to this share of the largest part are removed; true removes up to 1 %."""
    solid: bool = True
    """Make nearly opaque parts opaque and nearly transparent ones transparent."""

    sharpen: Share = 0.0
    """Strength of sharpening after the subject was made smaller."""
    shadow: Annotated[Shadow | None, BeforeValidator(_shadow)] = None
    checks: Checks = Checks()

    @model_validator(mode="before")
    @classmethod
    def _without_short_forms(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        given: dict[str, Any] = dict(value)
        for short, name in SHORT_FORMS.items():
            if short in given:
                if name in given:
                    raise ValueError(f"{short} is short for {name}; give one of them")
                given[name] = given.pop(short)
        if given.get("original") is True and "size" not in given:
            given["size"] = "original"
            del given["original"]
        return given

    @field_validator("format", mode="before")
    @classmethod
    def _format_name(cls, value: object) -> object:
        return FORMAT_NAMES.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @field_validator("widths", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return sorted(set(parts(value)), key=int) if isinstance(value, str | int) else value

    @field_validator("fill_holes", mode="before")
    @classmethod
    def _all_holes(cls, value: object) -> object:
        return float(value) if isinstance(value, bool) else value

    @field_validator("remove_specks", mode="before")
    @classmethod
    def _small_specks(cls, value: object) -> object:
        return 0.01 * value if isinstance(value, bool) else value


NOT_RENDERED: Final = frozenset({"name", "comment", "version", "source", "unverified", "on_review"})
"""Fields that do not change the bytes of an output."""
