"""What kind of file the bytes are, from their beginning; names and extensions are not believed."""

from __future__ import annotations

import importlib.util
from typing import Final, Literal, TypeAlias

from shared.errors import UndecodableImage, UnsupportedImage

Format: TypeAlias = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"]
"""The formats that are decoded; nothing else reaches a decoder."""

_IN_THREADS: Final = frozenset({"JPEG", "PNG"})

_MAGIC: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_PICTURES_NOT_READ: Final = (
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIU\0", "camera raw"),
)
_OTHER_FILES: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a video (Matroska)"),
    (b"ID3", "a sound file (MP3)"),
)
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Lengths of the information header in the versions of BMP; keeps texts that begin with BM out."""

_TEXT_BYTES: Final = 512


def needs_isolation(image_format: str) -> bool:
    """Say whether *image_format* is decoded in a process apart.

    JPEG and PNG have the most tested decoders and make up nearly all of a catalogue: they run in
    threads. All others go to `worker.imaging.decode.isolated.decoder`.
    """
    return image_format not in _IN_THREADS


def sniff(data: bytes) -> Format:
    """Name the format of *data*.

    Raises:
        UnsupportedImage: A picture of a kind that is not read here.
        UndecodableImage: No picture at all; the text says what it seems to be.
    """
    if not data:
        raise UndecodableImage("0 bytes")
    for magic, image_format in _MAGIC:
        if data.startswith(magic):
            return _not_raw(data, image_format)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    raise _refusal(data)


def _not_raw(data: bytes, image_format: Format) -> Format:
    if image_format == "TIFF" and data[8:10] == b"CR":
        raise UnsupportedImage("a camera raw file (CR2) is not read here")
    return image_format


def _of_brands(data: bytes) -> Format:
    """Tell AVIF, HEIC and films apart, which all begin with a list of brands."""
    length = int.from_bytes(data[:4], "big")
    brands = [data[8:12], *(data[n : n + 4] for n in range(16, min(length, 256), 4))]
    if not _AVIF_BRANDS.isdisjoint(brands):
        return "AVIF"
    if _HEIF_BRANDS.isdisjoint(brands):
        brand = data[8:12].decode("ascii", "replace").strip()
        raise UnsupportedImage(f"a film or picture of brand {brand!r} is not read here")
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnsupportedImage("HEIC pictures need the extra `rmbg-queue[heif]` on the worker")
    return "HEIF"


def _refusal(data: bytes) -> UndecodableImage | UnsupportedImage:
    for magic, name in _PICTURES_NOT_READ:
        if data.startswith(magic):
            return UnsupportedImage(f"a {name} file is not read here")
    for magic, name in _OTHER_FILES:
        if data.startswith(magic):
            return UndecodableImage(f"is {name}, not a picture")
    text = _text(data)
    if text is None:
        return UndecodableImage(f"not a known kind of picture; it begins with {data[:8].hex(' ')}")
    if "<svg" in text:
        return UnsupportedImage("an SVG drawing has no pixels and is not read here")
    return UndecodableImage(f"is text/{_kind_of_text(text)}, not a picture")


def _text(data: bytes) -> str | None:
    """Return the beginning of *data* in small letters if it reads as text, else None."""
    head = data[:_TEXT_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").lower()
    # A character of several bytes may be cut at the end of the excerpt.
    for cut in range(min(4, len(head))):
        try:
            text = head[: len(head) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return text.lower() if all(c.isprintable() or c.isspace() for c in text) else None
    return None


def _kind_of_text(text: str) -> str:
    start = text.lstrip()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "HTML"
    if start.startswith("<"):
        return "XML"
    return "JSON" if start.startswith(("{", "[")) else "plain"
