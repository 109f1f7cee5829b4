"""Sizes, lengths and places in a recipe."""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from shared.recipes.parsing import NUMBER, is_number, parts

_SIZE: Final = re.compile(r"(\d+)\s*[x×]\s*(\d+)")  # noqa: RUF001 - the sign that people type
_LENGTH: Final = re.compile(rf"({NUMBER})\s*(px|%)?")
_ASPECT: Final = re.compile(rf"({NUMBER})\s*[:/]\s*({NUMBER})")
_VERTICAL: Final = ("top", "bottom")
_HORIZONTAL: Final = ("left", "right")
_CENTRE: Final = ("centre", "center")


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width_px: int
    height_px: int

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}"

    @classmethod
    def parse(cls, value: object) -> "Size":
        """Return the size of `"2000x2600"`, of `[2000, 2600]`, or of a square `2000`."""
        if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
            value = [int(found[1]), int(found[2])]
        sides = [value, value] if isinstance(value, int) else value
        if isinstance(sides, list | tuple) and len(sides) == 2 and all(map(_is_side, sides)):  # noqa: PLR2004 - width and height
            return cls(*sides)
        raise ValueError("give WIDTHxHEIGHT in pixels, for example 2000x2000")


@dataclass(frozen=True)
class Length:
    """A length in pixels, or as a share of what the field refers to, in percent."""

    amount: float
    unit: Literal["px", "%"]

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"

    def of_px(self, whole_px: float) -> float:
        """Return the length in pixels, if 100 % are *whole_px*.

        >>> Length(10, "%").of_px(300), Length(10, "px").of_px(300)
        (30.0, 10)
        """
        return self.amount if self.unit == "px" else self.amount * whole_px / 100

    @classmethod
    def parse(cls, value: object) -> "Length":
        """Return the length of `30`, `"30px"` or `"5%"`."""
        found = _LENGTH.fullmatch(str(value).strip())
        if found is None or isinstance(value, bool):
            raise ValueError("give a length in px or %, for example 30px or 5%")
        return cls(float(found[1]), "%" if found[2] == "%" else "px")


@dataclass(frozen=True)
class Insets:
    """A length for each side."""

    top: Length
    right: Length
    bottom: Length
    left: Length

    def __str__(self) -> str:
        return f"{self.top} {self.right} {self.bottom} {self.left}"

    @classmethod
    def parse(cls, value: object) -> "Insets":
        """Return the insets of 1 value (all sides), 2 (vertical, horizontal) or 4 (clockwise)."""
        lengths = [Length.parse(part) for part in parts(value)]
        if len(lengths) not in (1, 2, 4):
            raise ValueError("give 1, 2 or 4 lengths, for example 5% or 30px 5%")
        top, right = lengths[0], lengths[1 % len(lengths)]
        return cls(top, right, lengths[2 % len(lengths)], lengths[-1] if lengths[3:] else right)


@dataclass(frozen=True)
class Roi:
    """A part of the source: its corners, in px or % of the source's width and height."""

    left: Length
    top: Length
    right: Length
    bottom: Length

    def __str__(self) -> str:
        return f"{self.left} {self.top} {self.right} {self.bottom}"

    @classmethod
    def parse(cls, value: object) -> "Roi":
        """Return the region `x1 y1 x2 y2`."""
        lengths = [Length.parse(part) for part in parts(value)]
        if len(lengths) != 4:  # noqa: PLR2004 - two corners
            raise ValueError("give x1 y1 x2 y2, for example 10% 10% 90% 90%")
        roi = cls(*lengths)
        for low, high in ((roi.left, roi.right), (roi.top, roi.bottom)):
            if low.unit == high.unit and low.amount >= high.amount:
                raise ValueError("x2 and y2 must be greater than x1 and y1")
        return roi


@dataclass(frozen=True)
class Anchor:
    """A place in the free space: 0 % is flush left or top, 100 % flush right or bottom."""

    x_percent: float
    y_percent: float

    def __str__(self) -> str:
        return f"{self.x_percent:g}% {self.y_percent:g}%"


Canvas: TypeAlias = Literal["original"] | Size
"""The source's canvas, or one of this size."""
Position: TypeAlias = Literal["auto", "original"] | Anchor
"""`auto` is the centre if the recipe places the subject, else the place that it has already."""


@dataclass(frozen=True)
class Align:
    """Edges of the free space that the subject is flush with; they win over the position."""

    horizontal: Literal["", "left", "right"] = ""
    vertical: Literal["", "top", "bottom"] = ""

    def __str__(self) -> str:
        return f"{self.vertical} {self.horizontal}".strip()

    @classmethod
    def parse(cls, value: object) -> "Align":
        """Return the alignment of `"bottom"`, `"top left"`; `"centre"` aligns nothing."""
        words = [word for word in parts(value) if word not in _CENTRE]
        vertical = [word for word in words if word in _VERTICAL]
        horizontal = [word for word in words if word in _HORIZONTAL]
        if len(vertical) > 1 or len(horizontal) > 1 or len(vertical + horizontal) < len(words):
            raise ValueError("give edges, for example bottom or top left")
        return cls("".join(horizontal), "".join(vertical))  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True)
class Aspect:
    """Width to height."""

    width: float
    height: float

    def __str__(self) -> str:
        return f"{self.width:g}:{self.height:g}"

    @property
    def ratio(self) -> float:
        """Width divided by height."""
        return self.width / self.height

    @classmethod
    def parse(cls, value: object) -> "Aspect":
        """Return the aspect ratio of `"3:4"`, `"1:1.44"` or of the ratio `0.75`."""
        found = _ASPECT.fullmatch(f"{value}:1" if is_number(value) else str(value).strip())
        if found is None or not float(found[1]) or not float(found[2]):
            raise ValueError("give WIDTH:HEIGHT, for example 3:4")
        return cls(float(found[1]), float(found[2]))


def parse_canvas(value: object) -> Canvas:
    """Return the canvas of `original` or `WIDTHxHEIGHT`."""
    return "original" if value == "original" else Size.parse(value)


def parse_position(value: object) -> Position:
    """Return the position of `auto`, `original`, `centre` or `x% y%`."""
    if value == "auto":
        return "auto"
    if value == "original":
        return "original"
    if value in _CENTRE:
        return Anchor(50.0, 50.0)
    try:
        found = [Length.parse(part) for part in parts(value)]
    except ValueError:
        found = []
    if len(found) == 2 and all(each.unit == "%" and each.amount <= 100 for each in found):  # noqa: PLR2004 - x and y
        return Anchor(found[0].amount, found[1].amount)
    raise ValueError("give original, centre or x% y%, for example 50% 80%")


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
