"""The background of an output."""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import webcolors

_HEX: Final = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_MAX_SHORT_DIGITS: Final = 4
"""Hex colours of 3 or 4 digits have one digit a channel."""
OPAQUE: Final = 255


@dataclass(frozen=True)
class NoBackground:
    """Transparency stays."""

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True)
class Blur:
    """The source itself, blurred."""

    def __str__(self) -> str:
        return "blur"


@dataclass(frozen=True)
class Colour:
    """A plain colour, sRGB, 0 to 255 each."""

    red: int
    green: int
    blue: int
    alpha: int = OPAQUE

    def __str__(self) -> str:
        text = bytes((self.red, self.green, self.blue, self.alpha)).hex()
        return f"#{text.removesuffix('ff') if self.is_opaque else text}"

    @property
    def is_opaque(self) -> bool:
        """Whether nothing shows through."""
        return self.alpha == OPAQUE


@dataclass(frozen=True)
class Asset:
    """An image: its key in the input bucket, or after submission the SHA-256 of its copy."""

    key: str

    def __str__(self) -> str:
        return self.key


Background: TypeAlias = NoBackground | Blur | Colour | Asset
WHITE: Final = Colour(255, 255, 255)


def parse_background(value: object) -> Background:
    """Return the background of `none`, `blur`, a hex colour, a CSS colour name or an image key."""
    text = str(value).strip()
    if text in ("none", "transparent", ""):
        return NoBackground()
    if text == "blur":
        return Blur()
    if found := _HEX.fullmatch(text):
        is_short = len(found[1]) <= _MAX_SHORT_DIGITS
        digits = "".join(2 * digit for digit in found[1]) if is_short else found[1]
        return Colour(*bytes.fromhex(digits))
    try:
        named = webcolors.name_to_rgb(text)
    except ValueError:
        if "." in text or "/" in text:
            return Asset(text)
        raise ValueError(
            "give none, blur, a hex colour, a colour name or the key of an image"
        ) from None
    return Colour(named.red, named.green, named.blue)
