"""Open files with Pillow's plug-ins and translate their errors.

The plug-in of the sniffed format is called directly, so that no other decoder sees the file and the
reason for a rejection is known, which `Image.open` drops.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import cv2
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from shared.errors import ImageTooLarge, ItemError, UndecodableImage, UnsupportedImage
from worker.imaging.decode.reasons import plain_words
from worker.imaging.decode.sniff import Format

# `Limits` checks the header instead. Pillow warns below our limit, and catching a warning in one
# thread would lose those of other threads.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = 8 * 2**20
"""Also limits the colour profile of a PNG; over Pillow's 1 MiB it would reject the image."""

# Pillow warns about metadata that we do not use; where warnings are errors, that would reject a
# valid image. Only a permanent filter is safe with threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

FOREIGN: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
    Warning,
)
"""Exceptions that Pillow and its plug-ins raise on damaged files.

Half a million damaged files raised OSError, SyntaxError, ValueError, RuntimeError, EOFError and
TypeError; the others are raised in the plug-ins' code or by what they call. `Warning` is for
processes whose filters turn warnings into errors.
"""

_UNSUPPORTED: Final = (
    *("cannot handle", "unsupported", "not implemented"),
    # What Pillow's plug-in of TIFF says of kinds of samples that it does not read.
    *("unknown pixel mode", "unknown data organization", "string index out of range"),
)
_PLUGINS: Final[dict[str, Callable[[io.BytesIO], ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}


@contextmanager
def opened(file: io.BytesIO, image_format: Format) -> Iterator[ImageFile]:
    """Open *file* as *image_format* and read its header; `load` decodes the pixels.

    Any error of a decoder, also inside the context, becomes an `ItemError`: its text says the
    reason in plain words, and its cause has the decoder's own.

    Raises:
        UnsupportedImage: A variant of the format that no decoder supports.
        ImageTooLarge: Out of memory.
        UndecodableImage: Any other error.
    """
    try:
        with _plugin(image_format)(file) as image:
            yield image
    except FOREIGN as err:
        raise _item_error(err, image_format) from err


def _item_error(err: BaseException, image_format: Format) -> ItemError:
    reason = " ".join(str(err).split()) or type(err).__name__
    low = reason.lower()
    if isinstance(err, MemoryError) or "out of memory" in low or "insufficient memory" in low:
        return ImageTooLarge(f"{image_format}: out of memory while decoding")
    text = f"{image_format}: {plain_words(reason)}"
    if any(mark in low for mark in _UNSUPPORTED):
        return UnsupportedImage(text)
    return UndecodableImage(text)


def _plugin(image_format: Format) -> Callable[[io.BytesIO], ImageFile]:
    if image_format == "HEIF":
        from pillow_heif import HeifImageFile  # noqa: PLC0415 - optional; `sniff` checked that it is installed

        plugin: Callable[[io.BytesIO], ImageFile] = HeifImageFile
        return plugin
    return _PLUGINS[image_format]
