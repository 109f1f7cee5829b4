"""Decode an image file to upright sRGB pixels: all steps, in order."""

import io
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from shared.errors import UndecodableImage
from worker.imaging.decode import cicp, jpeg, nclx, png_chunks, tiff
from worker.imaging.decode.colour import to_srgb
from worker.imaging.decode.damage import TRUNCATED, Findings
from worker.imaging.decode.files import FOREIGN, opened
from worker.imaging.decode.header import peek
from worker.imaging.decode.jpeg_steps import find_steps
from worker.imaging.decode.leftover import find_leftover
from worker.imaging.decode.limits import Limits
from worker.imaging.decode.line_ends import find_converted_line_ends
from worker.imaging.decode.metadata import read_metadata
from worker.imaging.decode.orientation import apply_orientation, orientation
from worker.imaging.decode.samples import flatten, split
from worker.imaging.decode.tiff_strips import check_strips
from worker.imaging.decode.transparent_colour import resolve_transparent_colour
from worker.imaging.types import NO_METADATA, Mask, RgbImage, SourceImage, SourceMetadata

Truncated: TypeAlias = Literal["fail", "accept"]
"""What to do with a truncated file."""
_ENTROPY_CODED: Final = ("WEBP", "AVIF", "HEIF")
"""Formats without checksums, whose decoders need each byte of an undamaged file."""


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
    doubts: tuple[str, ...] = ()
    """Those of the notes that say why pixels may be wrong; each forces the verdict `review`."""

    def source(self, *, keep_alpha: bool) -> SourceImage:
        """Return what outputs are made from, with the file's alpha if it is to be kept."""
        if keep_alpha and self.alpha is not None and self.straight is not None:
            return SourceImage(self.straight, self.alpha, self.metadata, self.doubts)
        return SourceImage(self.image, metadata=self.metadata, doubts=self.doubts)


def decode(data: bytes, limits: Limits, *, truncated: Truncated = "fail") -> DecodedImage:
    """Decode the first image in *data*, of any format that `sniff` detects.

    Thread-safe: changes no global state of Pillow. The same bytes always give the same result.

    Args:
        data: A whole file.
        limits: Checked against the header before any pixel is decoded.
        truncated: With ``accept``, a truncated JPEG, PNG, GIF, BMP or uncompressed TIFF is decoded
            as far as it goes, and a damaged JPEG or PNG all the same; doubts record that.

    Raises:
        ImageTooLarge: Over a limit, or out of memory.
        UnsupportedImage: An image of an unsupported format or variant.
        UndecodableImage: Not an image, or a damaged one; the text has the reason.
    """
    image_format, accept = peek(data, limits).format, truncated == "accept"
    if image_format == "JPEG":
        jpeg.check_scans(data)
        with opened(io.BytesIO(data), image_format) as image:
            limits.check_size(*image.size)
            return _jpeg(data, image, accept=accept)
    checked = png_chunks.check(data) if image_format == "PNG" else None
    findings = checked.findings if checked else Findings()
    whole = checked.data if checked else data
    with opened(io.BytesIO(whole), image_format) as image:
        limits.check_size(*image.size)
        if image_format == "TIFF":
            tiff.prepare(image)
            findings += check_strips(image, data)
        if _load(image, accept=accept):
            findings += Findings(damage=(TRUNCATED,))
        elif checked and checked.lacks_end:
            findings += Findings(notes=(png_chunks.NO_END,))
        elif image_format in _ENTROPY_CODED:
            findings += find_leftover(data, image, image_format)
        if checked:
            resolve_transparent_colour(image, whole)
        else:
            is_compressed = image_format in _ENTROPY_CODED
            findings += find_converted_line_ends(data, is_compressed=is_compressed)
        findings += Findings(notes=_name_colours(image, image_format, whole))
        findings = findings.accepted(image_format, accept=accept)
        decoded = _finish(image)
    return _with(findings, decoded)


def _name_colours(image: ImageFile, image_format: str, data: bytes) -> tuple[str, ...]:
    """Set the profile of an image whose file names its colour space by numbers; return notes."""
    space = None
    if image_format == "PNG":  # the numbers take precedence over an embedded profile
        space = cicp.colour_space_of_png(data)
    elif image_format in ("AVIF", "HEIF") and not image.info.get("icc_profile"):
        space = nclx.colour_space(data)
    if space is None:
        return ()
    profile, notes = cicp.profile_of(space, image_format)
    if profile is not None:
        image.info["icc_profile"] = profile
    return notes


def _with(findings: Findings, decoded: DecodedImage) -> DecodedImage:
    notes = (*findings.notes, *findings.doubts, *decoded.notes)
    return replace(decoded, notes=notes, doubts=findings.doubts)


def _jpeg(data: bytes, image: ImageFile, *, accept: bool) -> DecodedImage:
    """Decode an opened JPEG: with `jpeg.read`, and with Pillow where that does not suffice."""
    conversion = to_srgb(image.mode, image.info)
    colours = {"L": "GRAY" if conversion.transform else "RGB"}.get(image.mode, image.mode)
    found = jpeg.read(data, colours)
    findings = found.findings.accepted("JPEG", accept=accept)
    pixels = found.pixels
    if pixels is not None and found.layout is not None:
        findings += find_steps(pixels, found.layout)
    if pixels is None or image.mode == "CMYK" or pixels.shape[1::-1] != image.size:
        is_truncated = _load(image, accept=accept)
        if is_truncated and TRUNCATED not in findings.doubts:
            findings += Findings(doubts=(TRUNCATED,))
        return _with(findings, _truncated_jpeg(data) if is_truncated else _finish(image))
    if conversion.transform is not None:
        pixels = np.array(conversion.apply(Image.fromarray(pixels.squeeze())))
    value, exif_notes = orientation(image)
    notes = (*conversion.notes, *exif_notes, *_frame_notes(image))
    upright = apply_orientation(pixels, value)
    metadata = read_metadata(image, value)
    return _with(findings, DecodedImage(upright, None, notes, metadata=metadata))


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
        return _finish(image)


def _finish(image: ImageFile) -> DecodedImage:
    """Convert samples, colours, alpha and orientation of a loaded image to the common form."""
    base, alpha = split(image)
    conversion = to_srgb(base.mode, image.info)
    value, exif_notes = orientation(image)
    rgb = conversion.apply(base)
    notes = (*conversion.notes, *exif_notes, *_frame_notes(image))
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
