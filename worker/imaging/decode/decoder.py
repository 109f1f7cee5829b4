"""From bytes to upright sRGB pixels: the order in which the rooms are gone through."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from shared.errors import UndecodableImage
from worker.imaging.decode import jpeg
from worker.imaging.decode.alpha import flatten
from worker.imaging.decode.colour import Conversion
from worker.imaging.decode.files import FOREIGN, opened
from worker.imaging.decode.header import peek
from worker.imaging.decode.orientation import orientation, turn
from worker.imaging.decode.samples import split
from worker.imaging.types import Opaque, Translucent

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

    from worker.imaging.decode.limits import Limits
    from worker.imaging.decode.sniff import Format
    from worker.imaging.types import Mask, RgbImage, SourceImage

Truncated: TypeAlias = Literal["fail", "accept"]
"""What to do about a file that ends too early."""

_TORN: Final = "file ends too early; the missing part is blank"


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image. All arrays are C-contiguous, writable, upright and of one size."""

    image: RgbImage
    """``(H, W, 3)`` uint8 sRGB: what the network is shown. Flattened where there is an alpha."""
    alpha: Mask | None
    """``(H, W)`` uint8: the file's own alpha, 255 opaque; None if it has none or is opaque."""
    notes: tuple[str, ...]
    """What a user may want to know: profile damaged, first of several frames, ..."""
    straight: RgbImage | None = None
    """``(H, W, 3)`` uint8 sRGB, only with *alpha*: the colours before flattening, for the cutout
    (flattened ones would leave a pale seam). Meaningless where alpha is 0."""

    def source(self, *, keep_alpha: bool) -> SourceImage:
        """Return what to make the cutout from: the straight colours if an alpha is to be kept."""
        if keep_alpha and self.alpha is not None and self.straight is not None:
            return Translucent(self.straight, self.alpha)
        return Opaque(self.image)


def decode(data: bytes, limits: Limits, *, truncated: Truncated = "fail") -> DecodedImage:
    """Decode the first picture in *data*, of any format that `sniff` knows.

    Args:
        data: A whole file.
        limits: Checked against the header before any pixel is decoded.
        truncated: With ``accept``, a JPEG, PNG, GIF, BMP or uncompressed TIFF that ends too early
            is used as far as it goes, and a note says so.

    Returns:
        The same for the same bytes, always.

    Raises:
        ImageTooLarge: Over a limit, or memory ran out.
        UnsupportedImage: A picture of a kind that is not read here.
        UndecodableImage: No picture, or a damaged one; the text carries the reason.

    Safe in any thread: no global state of Pillow is switched.
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
        torn = _load(image, accept=truncated == "accept")
        if torn and image_format == "JPEG":
            return _torn_jpeg(data)
        return _finish(image, image_format, notes=(_TORN,) if torn else (), deep=_deep(data))


def _plain_jpeg(data: bytes, image: ImageFile) -> DecodedImage | None:
    """Take the fast way if nothing is to be done to the colours; see `jpeg.fast_rgb`."""
    conversion = _conversion(image, image.mode)
    if conversion.changes_colours:
        return None
    notes: tuple[str, ...] = ()
    pixels = jpeg.fast_rgb(data)
    if pixels is None:
        pixels = jpeg.fast_rgb(jpeg.with_end(data))
        notes = ("the end mark is missing; nothing else is",)
    if pixels is None or pixels.shape[1::-1] != image.size:
        return None
    value, exif_notes = orientation(image)
    notes = (*notes, *conversion.notes, *exif_notes, *_further(image))
    return DecodedImage(turn(pixels, value), None, notes)


def _load(image: ImageFile, *, accept: bool) -> bool:
    """Decode the pixels; return whether the file ended too early, which *accept* allows."""
    try:
        image.load()
    except (OSError, EOFError) as err:
        if not accept or "truncated" not in str(err):
            raise
    else:
        return False
    if image.format == "JPEG":
        return True
    # With its tiles taken away, Pillow hands out what was decoded. Its own switch for this is
    # global and would change what other threads accept.
    image.tile = []
    image.load()
    if image.getbbox() is None:
        raise UndecodableImage(f"{image.format}: ends before the first pixel")
    if image.format == "TIFF":
        image.load_end()  # turns the picture upright
    return True


def _torn_jpeg(data: bytes) -> DecodedImage:
    best, fallback = jpeg.mended(data)
    try:
        return _mended_jpeg(best)
    except UndecodableImage:
        return _mended_jpeg(fallback)


def _mended_jpeg(data: bytes) -> DecodedImage:
    with opened(io.BytesIO(data), "JPEG") as image:
        image.load()
        return _finish(image, "JPEG", notes=(_TORN,), deep=False)


def _finish(
    image: ImageFile, image_format: Format, *, notes: tuple[str, ...], deep: bool
) -> DecodedImage:
    """Bring a loaded picture's samples, colours, alpha and orientation to the common form."""
    base, alpha = split(image, deep=deep and image_format == "PNG")
    conversion = _conversion(image, base.mode)
    value, exif_notes = orientation(image)
    rgb = conversion.apply(base)
    notes = (*notes, *conversion.notes, *exif_notes, *_further(image))
    if alpha is None:
        return DecodedImage(_array(rgb, value), None, notes)
    flat, alpha_note = flatten(rgb, alpha)
    mask: Mask = turn(np.array(alpha), value)
    return DecodedImage(_array(flat, value), mask, (*notes, alpha_note), _array(rgb, value))


def _array(rgb: Image.Image, value: int) -> RgbImage:
    return turn(np.array(rgb), value)


def _conversion(image: ImageFile, mode: str) -> Conversion:
    profile = image.info.get("icc_profile")
    # Pillow puts None there where it could not take the profile out of the file.
    return Conversion(mode, profile, damaged="icc_profile" in image.info and profile is None)


def _further(image: ImageFile) -> tuple[str, ...]:
    """Say so if the file holds further frames or pages."""
    try:
        several = bool(getattr(image, "is_animated", False)) or "mp" in image.info
    except FOREIGN:
        # The second frame is damaged; the first is what is used.
        several = True
    return ("holds several frames or pages; the first was used",) if several else ()


def _deep(data: bytes) -> bool:
    """Whether a PNG holds 16 bits a sample (its header's ninth byte)."""
    return data[24:25] == b"\x10"
