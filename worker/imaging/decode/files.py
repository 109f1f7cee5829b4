"""The files that Pillow opens, and the one seam where its errors become ours.

Pillow's plug-in for the sniffed format is called by name: no other decoder ever sees a file, and
the reason of a refusal is kept, which `Image.open` drops.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

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

from shared.errors import ImageTooLarge, UndecodableImage, UnsupportedImage

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

    from shared.errors import ItemError
    from worker.imaging.decode.sniff import Format

# `Limits` decides, from the header. Pillow's own guard would warn below our limit, and a warning
# cannot be caught in one thread without losing those of the others.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = 8 * 2**20
"""Also bounds a PNG's colour profile, which at Pillow's 1 MiB would refuse the whole picture."""

# Pillow warns about metadata that we do not use; where warnings are errors, one would cost a
# good picture. A standing filter is the only kind that is safe with threads.
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
"""What Pillow and its plug-ins raise on damaged files.

Of half a million damaged files, OSError, SyntaxError, ValueError, RuntimeError, EOFError and
TypeError came; the others are raised in the plug-ins' code or by what they call. `Warning` is for
processes whose filters make errors of warnings.
"""

_UNSUPPORTED: Final = ("cannot handle", "unsupported", "unknown pixel mode", "not implemented")
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
def translated(image_format: Format) -> Iterator[None]:
    """Turn any error of a decoder into one of ours that carries its reason.

    Raises:
        UnsupportedImage: A variant of the format that no decoder here reads.
        ImageTooLarge: Memory ran out.
        UndecodableImage: Everything else.
    """
    try:
        yield
    except FOREIGN as err:
        raise _ours(err, image_format) from err


def _ours(err: BaseException, image_format: Format) -> ItemError:
    reason = " ".join(str(err).split()) or type(err).__name__
    low = reason.lower()
    if isinstance(err, MemoryError) or "out of memory" in low or "insufficient memory" in low:
        return ImageTooLarge(f"{image_format}: memory ran out while it was decoded")
    text = f"{image_format}: {reason}"
    if any(mark in low for mark in _UNSUPPORTED):
        return UnsupportedImage(text)
    return UndecodableImage(text)


@contextmanager
def opened(file: io.BytesIO, image_format: Format) -> Iterator[ImageFile]:
    """Open *file* as *image_format* and read its header; pixels are decoded on `load`.

    Raises:
        ItemError: See `translated`; errors within the context are translated as well.
    """
    with translated(image_format), _plugin(image_format)(file) as image:
        yield image


def _plugin(image_format: Format) -> Callable[[io.BytesIO], ImageFile]:
    if image_format == "HEIF":
        from pillow_heif import HeifImageFile  # noqa: PLC0415 - an extra; `sniff` saw that it is here

        plugin: Callable[[io.BytesIO], ImageFile] = HeifImageFile
        return plugin
    return _PLUGINS[image_format]
