"""Open and decode a file for its checks."""

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from PIL import Image
from PIL.ExifTags import IFD
from PIL.ImageFile import ImageFile

from shared.errors import UndecodableImage
from shared.recipes.background import OPAQUE
from shared.recipes.checks import FileFormat
from worker.imaging.compliance.profile import is_srgb
from worker.imaging.compliance.types import Context
from worker.imaging.decode import Limits, decode, jpeg
from worker.imaging.decode.files import FOREIGN, opened
from worker.imaging.decode.header import peek
from worker.imaging.decode.metadata import read_metadata
from worker.imaging.decode.orientation import orientation
from worker.imaging.decode.sniff import Format
from worker.imaging.encode.archive import ALPHA_NAME, COLOUR_NAME
from worker.imaging.quality import SUBJECT_ABOVE, Box, subject_pixels
from worker.imaging.types import Mask, RgbImage

KnownFormat: TypeAlias = FileFormat | Literal["heif", "zip"]
_FORMATS: Final[dict[Format, KnownFormat]] = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "AVIF": "avif",
    "TIFF": "tiff",
    "GIF": "gif",
    "BMP": "bmp",
    "HEIF": "heif",
}
_ZIP: Final = b"PK\x03\x04"
_LIGHT: Final = 255 - SUBJECT_ABOVE
"""Least value of what counts as white where the subject is estimated."""


@dataclass(frozen=True)
class Inspection:
    """A decoded file, and what is known of it."""

    data: bytes
    """The image file; that of the colours if the file is a ZIP."""
    size_bytes: int
    """Of the whole file."""
    format: KnownFormat
    header: ImageFile
    """As Pillow read it; its pixels are not loaded."""
    exif: Image.Exif
    pixels: RgbImage
    """(H, W, 3) uint8 sRGB, upright; straight colours where the file has alpha."""
    alpha: Mask | None
    """(H, W) uint8; None if the image is opaque."""
    dpi: tuple[float, float] | None
    context: Context

    @property
    def width_px(self) -> int:
        """Columns of the upright image."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Rows of the upright image."""
        return int(self.pixels.shape[0])

    @cached_property
    def mask(self) -> Mask | None:
        """The mask of the subject, if one is known that has the size of the image."""
        mask = self.context.mask
        return mask if mask is not None and mask.shape == self.pixels.shape[:2] else None

    @cached_property
    def subject(self) -> Mask | None:
        """The subject's alpha: as known, or estimated on white or transparent; else None.

        The estimate sees no part of the subject that is as light as haze of `SUBJECT_ABOVE`.
        """
        if self.mask is not None or self.context.mask is not None:
            return self.mask
        if self.alpha is not None:
            return self.alpha
        if border_least(self.pixels) < _LIGHT:
            return None
        light = cv2.inRange(self.pixels, (_LIGHT,) * 3, (OPAQUE,) * 3)
        return np.asarray(cv2.bitwise_not(light), np.uint8)

    @cached_property
    def box(self) -> Box | None:
        """Left, top, width and height of the subject; None if there is none or it is unknown."""
        if self.subject is None:
            return None
        left, top, width, height = cv2.boundingRect(subject_pixels(self.subject))
        return (left, top, width, height) if width else None


def border_least(pixels: RgbImage) -> int:
    """Return the least value in the outermost rows and columns."""
    return min(int(each.min()) for each in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


def inspect(data: bytes, context: Context, limits: Limits) -> Inspection:
    """Open and decode *data*, an image or a ZIP of colours and alpha.

    Raises:
        ItemError: If it cannot be read; the text says why.
    """
    size_bytes, alpha, is_zip = len(data), None, data.startswith(_ZIP)
    if is_zip:
        data, alpha = _unzipped(data, limits)
    name = peek(data, limits).format
    with opened(io.BytesIO(data), name) as header:
        pixels, own_alpha, dpi = _decoded(data, header, limits)
        exif = _exif(header)
    return Inspection(
        data=data,
        size_bytes=size_bytes,
        format="zip" if is_zip else _FORMATS[name],
        header=header,
        exif=exif,
        pixels=pixels,
        alpha=own_alpha if alpha is None else alpha,
        dpi=dpi,
        context=context,
    )


def parsed_exif(data: bytes) -> Image.Exif:
    """Return EXIF data of a chunk; none if it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except FOREIGN:
        return Image.Exif()
    return exif


def _exif(header: ImageFile) -> Image.Exif:
    """Return the EXIF data with the directories that checks read, as far as it is not damaged."""
    if header.format == "PNG":  # for which Pillow would decode the pixels once more
        return parsed_exif(header.info.get("exif", b""))
    try:
        exif = header.getexif()
        for directory in (IFD.Exif, IFD.GPSInfo, IFD.Interop):
            exif.get_ifd(directory)  # kept in *exif*; a TIFF is only read while it is open
    except FOREIGN:
        return Image.Exif()
    return exif


def _decoded(
    data: bytes, header: ImageFile, limits: Limits
) -> tuple[RgbImage, Mask | None, tuple[float, float] | None]:
    """Return colours, alpha if not opaque, and resolution."""
    if header.format == "JPEG" and header.mode == "RGB" and _is_plain(header):
        # As `decode`, without the search for traces of damage, which takes most of its time.
        jpeg.check_scans(data)
        found = jpeg.read(data, "RGB")
        if found.findings.damage:
            raise UndecodableImage(f"JPEG: {found.findings.damage[0]}")
        if found.pixels is not None:
            return found.pixels, None, read_metadata(header, 1).dpi
    image = decode(data, limits)
    colours = image.image if image.straight is None else image.straight
    return colours, image.alpha, image.metadata.dpi


def _is_plain(header: ImageFile) -> bool:
    """Return whether neither colours nor orientation have to be converted."""
    return is_srgb(header.info.get("icc_profile") or b"") and orientation(header)[0] == 1


def _unzipped(data: bytes, limits: Limits) -> tuple[bytes, Mask | None]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [archive.getinfo(name) for name in (COLOUR_NAME, ALPHA_NAME)]
            for entry in entries:
                limits.check_bytes(entry.file_size)
            colours, alpha = (archive.read(entry) for entry in entries)
    except (*FOREIGN, zipfile.BadZipFile) as err:
        raise UndecodableImage(f"ZIP: no {COLOUR_NAME} and {ALPHA_NAME} to read") from err
    mask = np.ascontiguousarray(decode(alpha, limits).image[..., 0])
    return colours, mask if (mask < OPAQUE).any() else None
