"""Read the metadata of a source that its outputs keep: resolution, copyright and author."""

import html
import math
from collections.abc import Iterator
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
_COPYRIGHT: Final = (Tag.Copyright, (2, 116), b"dc:rights", "Copyright")
_AUTHOR: Final = (Tag.Artist, (2, 80), b"dc:creator", "Author")
"""Where to find a text: EXIF tag, IPTC data set, XMP property, keyword of a PNG text chunk."""


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
    iptc = _iptc(image)
    return SourceMetadata(
        dpi=dpi,
        copyright=next(_texts(image, exif, iptc, _COPYRIGHT), ""),
        author=next(_texts(image, exif, iptc, _AUTHOR), ""),
    )


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
    places: tuple[int, tuple[int, int], bytes, str],
) -> Iterator[str]:
    """Yield the texts that *image* has at *places*, without empty ones."""
    tag, data_set, xmp, keyword = places
    for found in (exif.get(tag), iptc.get(data_set), _in_xmp(image, xmp), image.info.get(keyword)):
        if text := _clean(found[0] if isinstance(found, list) and found else found):
            yield text


def _in_xmp(image: ImageFile, name: bytes) -> bytes:
    """Return the first value of an XMP property.

    Searched as text: a parser of XML would also expand entities.
    """
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode(errors="replace") if isinstance(packet, str) else packet
    inside = _between(packet[:_MAX_XMP_BYTES], b"<" + name, b"</" + name)
    _, _, value = _between(inside, b"<rdf:li", b"</rdf:li").partition(b">")
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
