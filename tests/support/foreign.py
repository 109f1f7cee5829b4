"""Image files as other programs write them: OpenCV, tifffile, and metadata by hand."""

import io
import struct
import zlib

import cv2
import numpy as np
import simplejpeg
import tifffile

X_RESOLUTION, Y_RESOLUTION, UNIT = 282, 283, 296
EXIF_IFD, GPS_IFD = 34665, 34853
XMP_TAG, PROFILE_TAG = 700, 34675


def exif(entries) -> bytes:
    """Return a TIFF structure of texts, numbers and, as dicts, directories by tag."""
    return b"II*\0" + struct.pack("<I", 8) + _directory(entries, 8)


def _directory(entries, start: int) -> bytes:
    at = start + 2 + 12 * len(entries) + 4
    fields, body = b"", b""
    for tag, value in sorted(entries.items()):
        here = at + len(body)
        match value:
            case dict():
                fields += struct.pack("<HHII", tag, 4, 1, here)
                body += _directory(value, here)
            case str():
                text = value.encode() + b"\0"
                fields += struct.pack("<HHI", tag, 2, len(text))
                fields += text.ljust(4, b"\0") if len(text) <= 4 else struct.pack("<I", here)
                body += text if len(text) > 4 else b""
            case float():
                fields += struct.pack("<HHII", tag, 5, 1, here)
                body += struct.pack("<II", round(value * 1000), 1000)
            case int():
                fields += struct.pack("<HHIHH", tag, 3, 1, value, 0)
        body += bytes(len(body) % 2)
    return struct.pack("<H", len(entries)) + fields + bytes(4) + body


def xmp(attributes: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r"><rdf:Description '
        f"{attributes}/></rdf:RDF></x:xmpmeta>"
    ).encode()


def written(name, pixels, *, quality=92, tags=None, packet=b"", profile=b"", bits=8) -> bytes:
    """Return *pixels*, RGB or RGBA, as a file of this format.

    Args:
        name: `jpg`, `png`, `webp`, `avif`, `bmp`, `gif` (OpenCV) or `tiff` (tifffile).
        pixels: (H, W, 3 or 4) uint8.
        quality: Of a JPEG, a lossy WebP (101 is lossless) or AVIF.
        tags: EXIF entries, as `exif` takes them.
        packet: XMP.
        profile: ICC profile.
        bits: Per channel: 8, 10 (AVIF) or 16 (PNG and TIFF).
    """
    if name == "tiff":
        return _tiff(pixels, tags or {}, packet, profile, bits)
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    samples = cv2.cvtColor(np.ascontiguousarray(pixels), order)
    if bits > 8:
        samples = samples.astype(np.uint16) * (257 if bits == 16 else 4)
    options = {
        "jpg": [
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        ],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "avif": [
            *(cv2.IMWRITE_AVIF_QUALITY, quality),
            *(cv2.IMWRITE_AVIF_SPEED, 9),
            *(cv2.IMWRITE_AVIF_DEPTH, bits),
        ],
    }.get(name, [])
    kinds = {
        cv2.IMAGE_METADATA_EXIF: exif(tags) if tags else b"",
        cv2.IMAGE_METADATA_XMP: packet,
        cv2.IMAGE_METADATA_ICCP: profile,
    }
    kept = {kind: np.frombuffer(each, np.uint8) for kind, each in kinds.items() if each}
    if name in ("bmp", "gif"):
        kept = {}
    return cv2.imencodeWithMetadata(f".{name}", samples, list(kept), list(kept.values()), options)[
        1
    ].tobytes()


def _tiff(pixels, tags, packet, profile, bits) -> bytes:
    samples = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    extra = [
        (tag, 2, len(value) + 1, value, True)
        for tag, value in tags.items()
        if isinstance(value, str)
    ]
    if packet:
        extra.append((XMP_TAG, 1, len(packet), packet, True))
    if profile:
        extra.append((PROFILE_TAG, 7, len(profile), profile, True))
    resolution = {}
    if X_RESOLUTION in tags:
        resolution = {
            "resolution": (tags[X_RESOLUTION], tags[Y_RESOLUTION]),
            "resolutionunit": tags[UNIT],
        }
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples,
        photometric="rgb",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        compression="zlib",
        extratags=extra,
        metadata=None,
        software=False,
        **resolution,
    )
    return file.getvalue()


def cmyk_jpeg(pixels, tags) -> bytes:
    """Return a JPEG of four inks, as Photoshop writes it."""
    inks = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])  # inverted, without black
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(inks), 95, "CMYK", "444", fastdct=False)
    adobe = b"Adobe\0\x64\0\0\0\0\0"
    return with_segment(with_segment(data, 0xEE, adobe), 0xE1, b"Exif\0\0" + exif(tags))


def cmyk_tiff(pixels, tags) -> bytes:
    inks = np.dstack([255 - pixels, np.zeros(pixels.shape[:2], np.uint8)])
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        inks,
        photometric="separated",
        compression="zlib",
        metadata=None,
        resolution=(tags[X_RESOLUTION], tags[Y_RESOLUTION]),
        resolutionunit=tags[UNIT],
    )
    return file.getvalue()


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """Return a JPEG with one more segment at its start."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a PNG with one more chunk before its end."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return data[:-12] + struct.pack(">I", len(content)) + kind + content + check + data[-12:]
