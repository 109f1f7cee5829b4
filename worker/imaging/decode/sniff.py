"""Detect the format of a file from its first bytes; names and extensions are ignored."""

import importlib.util
from typing import Final, Literal, TypeAlias

from shared.errors import UndecodableImage, UnsupportedImage

Format: TypeAlias = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"]
"""The supported formats; no other file reaches a decoder."""

_SAFE_IN_THREADS: Final = frozenset({"JPEG", "PNG"})

_MAGIC: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
)
_UNSUPPORTED: Final = (
    (b"8BPS", "Photoshop"),
    (b"MM\0+", "big-endian BigTIFF"),
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
_NOT_IMAGES: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a video (Matroska)"),
    (b"ID3", "an audio file (MP3)"),
)
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Header lengths in the versions of BMP; excludes text that begins with BM."""

_TEXT_BYTES: Final = 512


def needs_isolation(image_format: str) -> bool:
    """Return whether *image_format* is decoded in an isolated child process.

    JPEG and PNG have the most tested decoders and make up nearly all of a catalogue: they run in
    threads. All other formats go to `worker.imaging.decode.isolated.decoder`.
    """
    return image_format not in _SAFE_IN_THREADS


def sniff(data: bytes) -> Format:
    """Return the format of *data*.

    Raises:
        UnsupportedImage: An image of an unsupported format.
        UndecodableImage: Not an image; the text names what *data* appears to be.
    """
    if not data:
        raise UndecodableImage("the file is empty (0 bytes)")
    for magic, image_format in _MAGIC:
        if data.startswith(magic):
            if image_format == "TIFF" and data[8:10] == b"CR":
                raise UnsupportedImage("camera raw files (CR2) are not supported")
            return image_format
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _format_of_brands(data)
    raise _error(data)


def _format_of_brands(data: bytes) -> Format:
    """Distinguish AVIF, HEIC and video, which all begin with a list of brands."""
    length = int.from_bytes(data[:4], "big")
    brands = [data[8:12], *(data[n : n + 4] for n in range(16, min(length, 256), 4))]
    if not _AVIF_BRANDS.isdisjoint(brands):
        return "AVIF"
    if _HEIF_BRANDS.isdisjoint(brands):
        brand = data[8:12].decode("ascii", "replace").strip()
        raise UnsupportedImage(f"video or image files of brand {brand!r} are not supported")
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnsupportedImage("HEIC needs the extra `rmbg-queue[heif]`; install it on the worker")
    return "HEIF"


def _error(data: bytes) -> UndecodableImage | UnsupportedImage:
    for magic, name in _UNSUPPORTED:
        if data.startswith(magic):
            return UnsupportedImage(f"{name} files are not supported")
    for magic, name in _NOT_IMAGES:
        if data.startswith(magic):
            return UndecodableImage(f"is {name}, not an image")
    text = _text(data)
    if text is None:
        return UndecodableImage(
            f"not a known image format; the file begins with {data[:8].hex(' ')}"
        )
    if "<svg" in text:
        return UnsupportedImage("SVG files are not supported; they have no pixels")
    return UndecodableImage(f"is text/{_kind_of_text(text)}, not an image")


def _text(data: bytes) -> str | None:
    """Return the beginning of *data* in lower case if it is text, else None."""
    head = data[:_TEXT_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").lower()
    # The excerpt may end within a multi-byte character.
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
