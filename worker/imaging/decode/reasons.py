"""Replace the error messages of decoder libraries with plain words."""

import re
from typing import Final

_PLAIN: Final = {
    "the header declares more than any real image has": "not enough memory|security limit",
    "Invalid APNG: the animation is damaged": "apng",
    "image file is truncated": "truncated|unexpected end|end of file|eof|incomplete"
    "|not enough data|outside of file|requires a buffer|unpack",
    "image data is damaged; a checksum does not match": "checksum|crc",
    "samples of this kind are not supported; save the image as grey, RGB or CMYK with 8 or 16 "
    "bits": "unknown pixel mode|unknown data organization|string index out of range",
    "compression of this kind is not supported; save the image without it": "compression",
    "this number of bits per sample is not supported; save the image with 8": "pixel depth"
    "|-bit layers",
    "this variant of the format is not supported": "cannot handle|unsupported|not implemented",
    "the header is damaged": "missing dimensions|invalid dimensions|image size|ihdr|bmff|box"
    "|not identified|invalid input|primary item|empty image item|palette|quantization table",
}
"""What a message means, and a pattern for it in lower case; the first match counts."""
_OTHER: Final = "image data is damaged"
"""Every other message: a number of the library's own, or a fault inside the pixels."""


def plain_words(message: str) -> str:
    """Return an explanation of a decoder's *message* for the owner of the file."""
    low = message.lower()
    return next((text for text, pattern in _PLAIN.items() if re.search(pattern, low)), _OTHER)
