"""Synthetic images of every format, mode and orientation that the tests need."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def quadrants(width: int = 48, height: int = 32) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8: red, green / blue, white quarters, asymmetric in every way."""
    pixels = np.empty((height, width, 3), np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    pixels[top, left] = 255, 0, 0
    pixels[top, right] = 0, 255, 0
    pixels[bottom, left] = 0, 0, 255
    pixels[bottom, right] = 255, 255, 255
    return pixels


def photo(width: int = 160, height: int = 120, *, seed: int = 0) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8: soft colour gradients with a little camera grain."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(6 * x + 3 * y), np.cos(5 * y - x), np.sin(9 * x * y + 1)]
    grain = np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    return np.clip(128 + 100 * np.stack(waves, -1) + grain, 0, 255).astype(np.uint8)


def plain(colour, width: int = 16, height: int = 16) -> np.ndarray:
    """Return ``(H, W)`` or ``(H, W, C)`` uint8 of one colour."""
    return np.full((height, width, *np.shape(colour)), colour, np.uint8)


def encoded(pixels, image_format: str, mode: str | None = None, **options) -> bytes:
    """Return *pixels* (an array or a Pillow image) as a file; *options* go to Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else as_image(pixels, mode)
    if image_format == "HEIF":
        import pillow_heif  # noqa: PLC0415 - optional

        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def as_image(pixels, mode: str | None = None) -> Image.Image:
    """Return an array as a Pillow image; *mode* where the shape is ambiguous (CMYK, LAB)."""
    pixels = np.ascontiguousarray(pixels)
    if mode is None or mode == "L":
        return Image.fromarray(pixels)
    return Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())


def exif(orientation: int) -> bytes:
    """Return EXIF data that holds only *orientation*."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels that a camera with this EXIF orientation stores for *upright*."""
    return np.ascontiguousarray(
        {
            1: lambda u: u,
            2: lambda u: u[:, ::-1],
            3: lambda u: u[::-1, ::-1],
            4: lambda u: u[::-1],
            5: lambda u: u.swapaxes(0, 1),
            6: lambda u: np.rot90(u, 1),
            7: lambda u: u[::-1, ::-1].swapaxes(0, 1),
            8: lambda u: np.rot90(u, -1),
        }[orientation](upright)
    )


def png(
    samples: np.ndarray,
    *,
    interlaced: bool = False,
    chunks=(),
    bits: int | None = None,
    colour: int | None = None,
) -> bytes:
    """Return a PNG of *samples*, also of variants that Pillow cannot write.

    Args:
        samples: ``(H, W)`` or ``(H, W, C)`` with 2, 3 or 4 channels; uint8 or uint16.
        interlaced: Write seven passes (Adam7).
        chunks: Pairs of type and content, placed before the pixels.
        bits: Bits per sample: 1, 2 or 4; those of the array if None.
        colour: Colour type: 3 for a palette; derived from the number of channels if None.
    """
    height, width = samples.shape[:2]
    depth = bits or 8 * samples.itemsize
    if colour is None:
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2] if samples.ndim == 3 else 1]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + _packed(row, depth)
        for top, left, down, along in passes
        for row in samples[top::down, left::along].astype(samples.dtype.newbyteorder(">"))
        if row.size
    )
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _packed(row: np.ndarray, bits: int) -> bytes:
    """Return a row's samples, several to a byte below 8 bits."""
    if bits >= 8:
        return row.tobytes()
    return np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def tiff(samples: np.ndarray, *, photometric: int, order: str = "<", bits=None, tags=None) -> bytes:
    """Return an uncompressed TIFF of *samples*, also of variants that Pillow cannot write.

    Args:
        samples: ``(H, W)`` or ``(H, W, C)`` of any depth.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK, 6 YCbCr, 8 LAB.
        order: ``<`` Intel, ``>`` Motorola.
        bits: Bits per sample in the header; those of the array if None.
        tags: Further tags of type LONG.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    depth = [bits or 8 * samples.itemsize] * channels
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    # Number -> type (3 SHORT, 4 LONG) and values.
    entries: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, depth),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(data)]),
        339: (3, [kind] * channels),
    }
    entries |= {number: (4, [value]) for number, value in (tags or {}).items()}
    start = 8 + len(data) + len(data) % 2
    extra_at, directory, extra = start + 2 + 12 * len(entries) + 4, b"", b""
    for number, (code, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{'HI'[code - 3]}", *values)
        if len(content) > 4:
            extra += content
            content = struct.pack(f"{order}I", extra_at + len(extra) - len(content))
        directory += struct.pack(f"{order}HHI", number, code, len(values)) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    count = struct.pack(f"{order}H", len(entries))
    return head + data + bytes(len(data) % 2) + count + directory + bytes(4) + extra


def ycck_jpeg(cmyk: np.ndarray) -> bytes:
    """Return a JPEG of *cmyk*, ``(H, W, 4)`` uint8, stored as YCCK like Adobe's."""
    # Adobe stores CMYK inverted, and YCCK uses the complement as RGB, which is the ink again.
    red, green, blue = (cmyk[..., n].astype(float) for n in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    planes = np.stack([y, cb, cr, 255.0 - cmyk[..., 3]], -1)
    # Pillow inverts the four planes when it writes CMYK, so they are passed inverted.
    inverted = 255 - np.clip(np.round(planes), 0, 255).astype(np.uint8)
    data = bytearray(encoded(inverted, "JPEG", "CMYK", quality=100, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2  # the transform: YCCK
    return bytes(data)


def header_only(image_format: str, width: int, height: int) -> bytes:
    """Return a file of a few bytes whose header declares *width* x *height* pixels."""
    wide = struct.pack(">II", width, height)
    match image_format:
        case "PNG":
            claim = png_chunk(b"IHDR", wide + b"\x08\x02\0\0\0")
            data = b"\x89PNG\r\n\x1a\n" + claim + png_chunk(b"IDAT", zlib.compress(bytes(64)))
        case "JPEG":
            frame = struct.pack(">BHHB", 8, height, width, 3) + b"\1\x11\0\2\x11\1\3\x11\1"
            start = struct.pack(">BBH", 0xFF, 0xC0, len(frame) + 2) + frame
            data = b"\xff\xd8" + start + b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0" + bytes(64)
        case "GIF":
            screen = struct.pack("<HHBBB", width, height, 0, 0, 0)
            data = b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2"
        case "BMP":
            info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
            data = b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + info + bytes(64)
        case "WEBP":
            canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
            body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
            data = b"RIFF" + struct.pack("<I", len(body)) + body
        case "TIFF":
            claim = bytearray(tiff(plain((1, 2, 3), 4, 4), photometric=2))
            for number, value in ((256, width), (257, height)):
                at = claim.index(struct.pack("<HHI", number, 4, 1)) + 8
                claim[at : at + 4] = struct.pack("<I", value)
            data = bytes(claim)
        case _:
            brand = {"AVIF": b"avif", "HEIF": b"heic"}[image_format]
            ispe = box(b"ispe", bytes(4) + wide)
            meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", ispe)))
            data = box(b"ftyp", brand + bytes(4) + b"mif1" + brand) + meta
    return data


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content
