"""Read the metadata of a source that its outputs keep: resolution, rights and description."""

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image, IptcImagePlugin
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from worker.imaging.decode.files import FOREIGN
from worker.imaging.types import SourceMetadata

MAX_TEXT_CHARS: Final = 1_000
_MAX_XMP_BYTES: Final = 2**20
_UNITS_PER_INCH: Final = {2: 1.0, 3: 2.54}
"""EXIF resolution unit -> how many of it are in an inch."""
_JFIF_UNITS: Final = (1, 2)
"""Units of a JFIF density that is not only an aspect ratio."""
_TURNED_FROM: Final = 5
"""Orientations from this one on swap width and height."""
_SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""How the IPTC's terms for the source of an image begin."""


@dataclass(frozen=True)
class _Places:
    """Where programs put a text; None where the standard has no place for it."""

    xmp: str
    """XMP property."""
    exif: int | None = None
    """EXIF tag."""
    iptc: tuple[int, int] | None = None
    """IPTC data set."""
    keyword: str = ""
    """Keyword of a PNG text chunk."""


_PLACES: Final = {
    "copyright": _Places("dc:rights", Tag.Copyright, (2, 116), "Copyright"),
    "author": _Places("dc:creator", Tag.Artist, (2, 80), "Author"),
    "title": _Places("dc:title", None, (2, 5), "Title"),
    "description": _Places("dc:description", Tag.ImageDescription, (2, 120), "Description"),
    "credit": _Places("photoshop:Credit", None, (2, 110)),
    "usage_terms": _Places("xmpRights:UsageTerms"),
    "digital_source_type": _Places("Iptc4xmpExt:DigitalSourceType"),
}
"""Field of `SourceMetadata` -> where to find it."""


def read_metadata(image: ImageFile, orientation: int) -> SourceMetadata:
    """Return the metadata of a loaded image; damaged metadata counts as missing.

    Args:
        image: The file.
        orientation: EXIF orientation that is applied to the pixels.
    """
    exif = _exif(image)
    dpi = _resolution(image, exif)
    if dpi is not None and orientation >= _TURNED_FROM:
        dpi = dpi[::-1]
    iptc, xmp = _iptc(image), _xmp(image)
    texts = {
        name: next(_texts(image, exif, iptc, xmp, places), "") for name, places in _PLACES.items()
    }
    if not texts["digital_source_type"].startswith(_SOURCE_TYPES):
        texts["digital_source_type"] = ""
    return SourceMetadata(dpi=dpi, **texts)


def _exif(image: ImageFile) -> Image.Exif:
    try:
        return image.getexif()
    except FOREIGN:
        return Image.Exif()


def _iptc(image: ImageFile) -> dict[tuple[int, int], bytes | list[bytes]]:
    try:
        return IptcImagePlugin.getiptcinfo(image) or {}
    except FOREIGN:
        return {}


def _resolution(image: ImageFile, exif: Image.Exif) -> tuple[float, float] | None:
    """Return the horizontal and the vertical resolution in pixels per inch."""
    # Where a file has none, Pillow invents 72 for JPEG and 1 for TIFF.
    is_trusted = image.format in ("PNG", "BMP") or image.info.get("jfif_unit") in _JFIF_UNITS
    try:
        if is_trusted and "dpi" in image.info:
            found = tuple(float(value) for value in image.info["dpi"])
        else:
            scale = _UNITS_PER_INCH[exif.get(Tag.ResolutionUnit, 2)]
            found = tuple(scale * float(exif[each]) for each in (Tag.XResolution, Tag.YResolution))
        horizontal, vertical = found
    except FOREIGN:
        return None
    is_usable = all(math.isfinite(value) and value > 0 for value in found)
    return (horizontal, vertical) if is_usable else None


def _texts(
    image: ImageFile,
    exif: Image.Exif,
    iptc: dict[tuple[int, int], bytes | list[bytes]],
    xmp: bytes,
    places: _Places,
) -> Iterator[str]:
    """Yield the texts that *image* has at *places*, without empty ones."""
    candidates = (
        exif.get(places.exif) if places.exif else None,
        iptc.get(places.iptc) if places.iptc else None,
        _in_xmp(xmp, places.xmp) if xmp else None,
        image.info.get(places.keyword),
    )
    for found in candidates:
        if text := _clean(found[0] if isinstance(found, list) and found else found):
            yield text


def _xmp(image: ImageFile) -> bytes:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode(errors="replace") if isinstance(packet, str) else packet
    return bytes(packet[:_MAX_XMP_BYTES])


def _in_xmp(packet: bytes, name: str) -> bytes:
    """Return the first value of an XMP property: a list's first item, a text or an attribute.

    Searched as text: a parser of XML would also expand entities.
    """
    tag = re.escape(name.encode())
    inside = _between(packet, b"<" + name.encode(), b"</" + name.encode())
    _, is_list, items = inside.partition(b"<rdf:li")
    _, _, value = (items if is_list else inside).partition(b">")
    value = value.partition(b"<")[0].strip()
    if not value:
        resource = rb"<" + tag + rb"\s[^>]*?rdf:resource\s*=\s*[\"']([^\"'<]*)"
        attribute = rb"\s" + tag + rb"\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')"
        found = re.search(resource, packet) or re.search(attribute, packet)
        value = next(filter(None, found.groups()), b"") if found else b""
    return html.unescape(value.decode(errors="replace")).encode()


def _between(text: bytes, start: bytes, end: bytes) -> bytes:
    """Return what is between the first *start* and the next *end*; nothing if one is missing."""
    inside, found, _ = text.partition(start)[2].partition(end)
    return inside if found else b""


def _clean(found: object) -> str:
    """Return a text of any encoding as one line."""
    match found:
        case str():
            try:
                data = found.encode("latin-1")  # as which Pillow decodes EXIF, mostly UTF-8
            except UnicodeEncodeError:
                data = found.encode()
        case bytes():
            data = found
        case _:
            return ""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # EXIF separates photographer and editor by a zero byte.
    parts = (" ".join(part.split()) for part in text.split("\0"))
    printable = "".join(each for each in "; ".join(filter(None, parts)) if each.isprintable())
    return printable[:MAX_TEXT_CHARS]
