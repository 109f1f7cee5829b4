"""Decode an image file to upright sRGB pixels: all steps, in order."""

import io
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from shared.errors import UndecodableImage
from worker.imaging.decode import jpeg, tiff
from worker.imaging.decode.cicp import profile_of_cicp
from worker.imaging.decode.colour import to_srgb
from worker.imaging.decode.files import FOREIGN, opened
from worker.imaging.decode.header import peek
from worker.imaging.decode.limits import Limits
from worker.imaging.decode.metadata import read_metadata
from worker.imaging.decode.orientation import apply_orientation, orientation
from worker.imaging.decode.samples import flatten, split
from worker.imaging.decode.transparent_colour import resolve_transparent_colour
from worker.imaging.types import NO_METADATA, Mask, RgbImage, SourceImage, SourceMetadata

Truncated: TypeAlias = Literal["fail", "accept"]
"""What to do with a truncated file."""

_TRUNCATED: Final = "file is truncated; the missing part is blank"


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image. All arrays are C-contiguous, writable, upright and of one size."""

    image: RgbImage
    """``(H, W, 3)`` uint8 sRGB: the network's input, flattened if the file has alpha."""
    alpha: Mask | None
    """``(H, W)`` uint8: the file's alpha, 255 is opaque; None if it has none or is fully opaque."""
    notes: tuple[str, ...]
    """Facts for the user: profile damaged, first of several frames, ..."""
    straight: RgbImage | None = None
    """``(H, W, 3)`` uint8 sRGB, only with *alpha*: the colours before flattening, for the cutout
    (flattened colours would leave a pale fringe). Meaningless where alpha is 0."""
    metadata: SourceMetadata = NO_METADATA

    def source(self, *, keep_alpha: bool, keep_metadata: bool) -> SourceImage:
        """Return the pixels for the cutout, with the file's alpha and metadata if to be kept."""
        metadata = self.metadata if keep_metadata else NO_METADATA
        if keep_alpha and self.alpha is not None and self.straight is not None:
            return SourceImage(self.straight, self.alpha, metadata)
        return SourceImage(self.image, metadata=metadata)


def decode(data: bytes, limits: Limits, *, truncated: Truncated = "fail") -> DecodedImage:
    """Decode the first image in *data*, of any format that `sniff` detects.

    Thread-safe: changes no global state of Pillow. The same bytes always give the same result.

    Args:
        data: A whole file.
        limits: Checked against the header before any pixel is decoded.
        truncated: With ``accept``, a truncated JPEG, PNG, GIF, BMP or uncompressed TIFF is decoded
            as far as it goes, and a note records that.

    Raises:
        ImageTooLarge: Over a limit, or out of memory.
        UnsupportedImage: An image of an unsupported format or variant.
        UndecodableImage: Not an image, or a damaged one; the text has the reason.
    """
    image_format = peek(data, limits).format
    if image_format == "JPEG":
        jpeg.check_scans(data)
    with opened(io.BytesIO(data), image_format) as image:
        limits.check_size(*image.size)
        if image_format == "JPEG" and image.mode in ("L", "RGB"):
            decoded = _plain_jpeg(data, image)
            if decoded is not None:
                return decoded
        if image_format == "TIFF":
            tiff.prepare(image)
        is_truncated = _load(image, accept=truncated == "accept")
        if is_truncated and image_format == "JPEG":
            return _truncated_jpeg(data)
        notes = (_TRUNCATED,) if is_truncated else ()
        if image_format == "PNG":
            resolve_transparent_colour(image, data)
            profile, cicp_notes = profile_of_cicp(data)
            if profile is not None:  # it takes precedence over an embedded profile
                image.info["icc_profile"] = profile
            notes = (*notes, *cicp_notes)
        return _finish(image, notes=notes)


def _plain_jpeg(data: bytes, image: ImageFile) -> DecodedImage | None:
    """Decode with `jpeg.fast_rgb` if the colours need no conversion; return None where it fails."""
    conversion = to_srgb(image.mode, image.info)
    if conversion.transform is not None:
        return None
    notes: tuple[str, ...] = ()
    pixels = jpeg.fast_rgb(data)
    if pixels is None:
        pixels = jpeg.fast_rgb(data + jpeg.END)
        notes = ("the end marker is missing; all pixels are there",)
    if pixels is None or pixels.shape[1::-1] != image.size:
        return None
    value, exif_notes = orientation(image)
    notes = (*notes, *conversion.notes, *exif_notes, *_frame_notes(image))
    upright = apply_orientation(pixels, value)
    return DecodedImage(upright, None, notes, metadata=read_metadata(image, value))


def _load(image: ImageFile, *, accept: bool) -> bool:
    """Decode the pixels; return whether the file is truncated, which *accept* allows."""
    try:
        image.load()
    except (OSError, EOFError) as err:
        if not accept or "truncated" not in str(err):
            raise
    else:
        return False
    if image.format == "JPEG":
        return True
    # Without tiles, Pillow returns what it has decoded so far. Its own switch for truncated files
    # is global and would change what other threads accept.
    image.tile = []
    image.load()
    if image.getbbox() is None:
        raise UndecodableImage(f"{image.format}: truncated before the first pixel")
    if image.format == "TIFF":
        image.load_end()  # applies the orientation
    return True


def _truncated_jpeg(data: bytes) -> DecodedImage:
    best, fallback = jpeg.repaired(data)
    try:
        return _repaired_jpeg(best)
    except UndecodableImage:
        return _repaired_jpeg(fallback)


def _repaired_jpeg(data: bytes) -> DecodedImage:
    with opened(io.BytesIO(data), "JPEG") as image:
        image.load()
        return _finish(image, notes=(_TRUNCATED,))


def _finish(image: ImageFile, *, notes: tuple[str, ...]) -> DecodedImage:
    """Convert samples, colours, alpha and orientation of a loaded image to the common form."""
    base, alpha = split(image)
    conversion = to_srgb(base.mode, image.info)
    value, exif_notes = orientation(image)
    rgb = conversion.apply(base)
    notes = (*notes, *conversion.notes, *exif_notes, *_frame_notes(image))
    metadata = read_metadata(image, value)
    if alpha is None:
        return DecodedImage(_array(rgb, value), None, notes, metadata=metadata)
    flat, alpha_note = flatten(rgb, alpha)
    mask: Mask = _array(alpha, value)
    notes = (*notes, alpha_note)
    return DecodedImage(_array(flat, value), mask, notes, _array(rgb, value), metadata)


def _array(image: Image.Image, value: int) -> RgbImage | Mask:
    return apply_orientation(np.array(image), value)


def _frame_notes(image: ImageFile) -> tuple[str, ...]:
    """Return a note if the file holds further frames or pages."""
    try:
        several = bool(getattr(image, "is_animated", False)) or "mp" in image.info
    except FOREIGN:
        several = True  # the second frame is damaged; only the first is used
    return ("the file holds several frames or pages; the first is used",) if several else ()
