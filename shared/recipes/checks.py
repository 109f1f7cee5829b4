"""Checks of an output's encoded bytes: their names and limits."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from shared.document import Document
from shared.recipes.formats import FORMAT_NAMES
from shared.recipes.parsing import Parsed, parse_bytes, parse_share, parts
from shared.recipes.values import Aspect, Size

Level: TypeAlias = Literal["must", "should"]
"""A failed `must` makes the verdict `review`; a failed `should` is a note."""
LEVELS: Final[tuple[Level, ...]] = ("must", "should")

FileFormat: TypeAlias = Literal["jpg", "png", "gif", "bmp", "tiff", "webp", "avif"]
"""A file format that a marketplace can accept; more than an output can have."""


@dataclass(frozen=True)
class Range:
    """Least and greatest share that a check accepts, 0 to 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} {self.high:g}"

    @classmethod
    def parse(cls, value: object) -> "Range":
        """Return the range of `[0.75, 0.9]`, or of the least share `0.85`; also in %."""
        shares = [parse_share(part) for part in parts(value)]
        if len(shares) == 1:
            shares.append(1.0)
        if len(shares) != 2 or shares[0] > shares[1]:  # noqa: PLR2004 - low and high
            raise ValueError("give the least share, or least and greatest, for example 0.75 0.9")
        return cls(*shares)


@dataclass(frozen=True)
class SideLimit:
    """A limit on width and height in pixels, or on the longest side alone."""

    width_px: int
    height_px: int
    longest: bool = False

    def __str__(self) -> str:
        return f"longest {self.width_px}" if self.longest else f"{self.width_px}x{self.height_px}"

    @classmethod
    def parse(cls, value: object) -> "SideLimit":
        """Return the limit of `500` (each side), `"762x1100"` or `"longest 500"`."""
        text = str(value).strip()
        is_longest = text.startswith("longest")
        number = text.removeprefix("longest").strip()
        try:
            size = Size.parse(int(number) if number.isdecimal() else "" if is_longest else value)
        except ValueError:
            raise ValueError("give 500 (each side), 762x1100 or longest 500") from None
        return cls(size.width_px, size.height_px, is_longest)


def _formats(value: object) -> list[str]:
    return [FORMAT_NAMES.get(str(part).lower(), str(part).lower()) for part in parts(value)]


class Limits(Document):
    """The checks of one level, each with its limit; None or false if it is not made."""

    white_background: bool = False
    """The background is pure white, as far as the format can keep it."""
    fill: Annotated[Range, Parsed(Range.parse, ("0.85", "0.75 0.9"))] | None = None
    """Share of the canvas that the subject fills, measured as `fill_of`."""
    min_side_px: Annotated[SideLimit, Parsed(SideLimit.parse, ("500", "longest 1600"))] | None = (
        None
    )
    max_side_px: Annotated[SideLimit, Parsed(SideLimit.parse, ("5000", "longest 9000"))] | None = (
        None
    )
    megapixels: float | None = Field(default=None, gt=0)
    """Most pixels, in millions."""
    aspect: Annotated[Aspect, Parsed(Aspect.parse, ("1:1", "3:4"))] | None = None
    """Width to height, within a pixel."""
    formats: Annotated[tuple[FileFormat, ...], BeforeValidator(_formats)] = ()
    extension_matches: bool = False
    """The extension of the key names the format of the bytes."""
    colour_space: bool = False
    """sRGB or untagged RGB with 8 bits; no CMYK."""
    no_transparency: bool = False
    max_bytes: Annotated[int, BeforeValidator(parse_bytes)] | None = None
    min_bytes: Annotated[int, BeforeValidator(parse_bytes)] | None = None
    subject_touches_edge: bool = False
    """The subject touches no edge of the canvas, and the source cuts none of it."""
    upscaled: bool = False
    """The subject is not enlarged."""
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    """Least quality of a JPEG, computed from its tables."""
    min_dpi: float | None = Field(default=None, gt=0)
    no_private_metadata: bool = False
    """The file tells nothing of the camera or the place."""

    def active(self) -> dict[str, Any]:
        """Return the checks that are made, by name, with their limits."""
        return {name: limit for name in CHECKS if (limit := getattr(self, name)) not in _OFF}


CHECKS: Final = tuple(Limits.model_fields)
"""Names of all checks."""
_OFF: Final = (None, False, ())


class Checks(Document):
    """The checks of both levels."""

    must: Limits = Limits()
    should: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _by_check(cls, value: object) -> object:
        """Accept `fill = {must = 0.85}` and `white_background = "must"` beside `must.fill`."""
        if not isinstance(value, dict) or not set(value) & set(CHECKS):
            return value
        levels: dict[str, Any] = {level: dict(value.get(level, {})) for level in LEVELS}
        for name, given in value.items():
            if name in LEVELS:
                continue
            for level, limit in (given if isinstance(given, dict) else {given: True}).items():
                levels.setdefault(level, {})[name] = limit
        return levels
