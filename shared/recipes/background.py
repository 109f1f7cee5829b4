"""The background of an output."""

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import webcolors

_HEX: Final = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_STORED: Final = re.compile(r"sha256:([0-9a-f]{64})")
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
    """An image as a recipe names it: a key, an `s3://` URL, or a file beside the recipe file."""

    key: str

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class StoredAsset:
    """An image of a submitted job, by its content; see `shared.job.keys.asset_key`."""

    sha256: str
    """64 hex digits."""

    def __str__(self) -> str:
        return f"sha256:{self.sha256}"


Background: TypeAlias = NoBackground | Blur | Colour | Asset | StoredAsset
WHITE: Final = Colour(255, 255, 255)


def parse_background(value: object) -> Background:
    """Return the background of `none`, `blur`, a hex colour, a CSS colour name or an image key.

    An image has a dot or a slash in its name; `./oak` is the file `oak` beside the recipe file.

    Raises:
        ValueError: If it is none of these.
    """
    text = value.strip() if isinstance(value, str) else "?"
    if text in ("none", "transparent", ""):
        return NoBackground()
    if text == "blur":
        return Blur()
    if found := _HEX.fullmatch(text):
        is_short = len(found[1]) <= _MAX_SHORT_DIGITS
        digits = "".join(2 * digit for digit in found[1]) if is_short else found[1]
        return Colour(*bytes.fromhex(digits))
    if found := _STORED.fullmatch(text):
        return StoredAsset(found[1])
    try:
        named = webcolors.name_to_rgb(text)
    except ValueError:
        if "." in text or "/" in text:
            return Asset(text)
        raise ValueError(
            "give none, blur, a hex colour, a colour name or the key of an image"
        ) from None
    return Colour(named.red, named.green, named.blue)


def background_schema() -> dict[str, Any]:
    """Return the JSON Schema of the texts that `parse_background` takes."""
    digit = "[0-9A-Fa-f]"
    hexes = "|".join(f"{digit}{{{count}}}" for count in (3, 4, 6, 8))
    forms = (
        ("Transparency stays.", {"enum": ["none", "transparent", ""]}),
        ("The source itself, blurred.", {"const": "blur"}),
        ("A colour in hex digits, with or without alpha.", {"pattern": f"^#?({hexes})$"}),
        ("A CSS colour name.", {"enum": webcolors.names("css3")}),
        ("A CSS colour name in another case.", {"pattern": "^(?=.*[A-Z])[A-Za-z]+$"}),
        ("An image in one of the input buckets.", {"pattern": "^[sS]3://[^/]+/.+$"}),
        ("A file beside the recipe file.", {"pattern": r"^(\.{0,2}/).+$"}),
        (
            "A file beside the recipe file, or else the key of an image in the input bucket.",
            {"pattern": "[./]"},
        ),
        ("The copy of an image, in the recipe of a submitted job.", {"pattern": "^sha256:"}),
    )
    return {
        "type": "string",
        "anyOf": [{"description": text, **form} for text, form in forms],
        "examples": ["none", "#ffffff", "white", "blur", "wood.jpg", "s3://inbox/bg/wood.jpg"],
    }
