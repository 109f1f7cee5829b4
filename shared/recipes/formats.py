"""The file formats of outputs: their names and what each can keep."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Format: TypeAlias = Literal["jpg", "png", "webp", "avif", "tiff", "zip"]
FORMAT_NAMES: Final = {"jpeg": "jpg", "tif": "tiff"}
"""Other names that people give."""
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "zip": "application/zip",
}
TRANSPARENT: Final[frozenset[Format]] = frozenset({"png", "webp", "avif", "tiff", "zip"})
"""Formats that keep transparency."""
LOSSLESS: Final[frozenset[Format]] = frozenset({"webp", "avif"})
"""Formats that are lossy unless asked otherwise."""
