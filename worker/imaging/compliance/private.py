"""The check that a file tells nothing of the camera or the place."""

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from PIL import Image, IptcImagePlugin
from PIL.ExifTags import IFD, Base

from worker.imaging.compliance.inspection import Inspection, parsed_exif
from worker.imaging.compliance.types import Outcome, judged
from worker.imaging.decode.files import FOREIGN
from worker.imaging.decode.png_chunks import chunks

_CAMERA_TAGS: Final = (
    *(Base.Make, Base.Model, Base.MakerNote, Base.CameraOwnerName, Base.BodySerialNumber),
    *(Base.LensMake, Base.LensModel, Base.LensSerialNumber, Base.CameraSerialNumber),
)
_PLACE_DATA_SETS: Final = {
    (2, 26): "content location code",
    (2, 27): "content location",
    (2, 90): "city",
    (2, 92): "sublocation",
    (2, 95): "state",
    (2, 100): "country code",
    (2, 101): "country",
}
"""IPTC data set -> its name (IIM 4.2)."""
_NAMES: Final = (
    "Make|Model|MakerNote|GPS[A-Za-z]*|CameraOwnerName|OwnerName|CameraSerialNumber"
    "|BodySerialNumber|SerialNumber|LensSerialNumber|LensMake|LensModel|LensInfo|Lens|LensID"
    "|City|State|Country|CountryCode|Location|LocationCreated|LocationShown|Sublocation"
)
_IN_XMP: Final = re.compile(rf"[\w.-]+:({_NAMES})(?=[\s=>/])".encode())
"""A property, as element or attribute, whatever the prefix of its namespace."""
_KEYWORD: Final = re.compile(rf"(?:.*[:.\s])?({_NAMES})", re.IGNORECASE)
_XMP_KEYWORD: Final = b"XML:com.adobe.xmp"
_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\0"
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_RAW_EXIF: Final = (b"Raw profile type exif", b"Raw profile type APP1")
_MAX_TEXT_BYTES: Final = 2**20


def no_private_metadata(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check EXIF, IPTC, XMP and text chunks for camera, serial numbers, lens, place."""
    names = sorted(set(_private(found)))
    return judged(is_met=not names, value=list(names), reason=f"the file holds {', '.join(names)}")


def _private(found: Inspection) -> Iterator[str]:
    """Yield the names of private fields."""
    packets = [_xmp(found.header.info)]
    yield from _in_exif(found.exif)
    if found.format == "png":
        for chunk in chunks(found.data):
            if chunk.kind == b"eXIf":
                yield from _in_exif(parsed_exif(bytes(chunk.content)))
            elif chunk.kind in _TEXTS:
                yield from _in_text(chunk.kind, bytes(chunk.content))
    elif _EXTENSION in found.data:
        packets.append(found.data)  # spread over segments of a JPEG
    yield from (f"IPTC {name}" for name in _in_iptc(found))
    for packet in packets:
        yield from _in_xmp(packet)


def _in_text(kind: bytes, content: bytes) -> Iterator[str]:
    """Yield what a text chunk of a PNG tells by its keyword, or in XMP or EXIF that it holds."""
    keyword, _, text = content.partition(b"\0")
    if name := _KEYWORD.fullmatch(keyword.decode("latin-1")):
        yield f"text {name[0]}"
    if keyword == _XMP_KEYWORD:
        yield from _in_xmp(_text(kind, text))
    elif keyword in _RAW_EXIF:
        yield from _in_exif(parsed_exif(_raw_profile(_text(kind, text))))


def _in_xmp(packet: bytes) -> Iterator[str]:
    return (f"XMP {each[1].decode()}" for each in _IN_XMP.finditer(packet))


def _in_exif(exif: Image.Exif) -> Iterator[str]:
    camera = exif.get_ifd(IFD.Exif)
    for tag in _CAMERA_TAGS:
        if exif.get(tag) or camera.get(tag):
            yield f"EXIF {tag.name}"
    # A version alone tells nothing.
    if any(tag for tag in exif.get_ifd(IFD.GPSInfo)):
        yield "EXIF GPS"


def _in_iptc(found: Inspection) -> list[str]:
    try:
        data = IptcImagePlugin.getiptcinfo(found.header) or {}
    except FOREIGN:
        return []
    return [name for data_set, name in _PLACE_DATA_SETS.items() if data.get(data_set)]


def _xmp(info: Mapping[Any, Any]) -> bytes:
    packet = info.get("xmp") or b""
    return packet.encode(errors="replace") if isinstance(packet, str) else bytes(packet)


def _text(kind: bytes, content: bytes) -> bytes:
    """Return the text of a chunk, after its keyword; nothing if it is damaged."""
    is_compressed, text = kind == b"zTXt", content
    if kind == b"iTXt":
        is_compressed, text = content[:1] == b"\1", content[2:].split(b"\0", 2)[-1]
    elif is_compressed:
        text = content[1:]  # after the method
    if not is_compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Return what ImageMagick wrote as a name, a length and hexadecimal digits, one a line."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""
