"""Decode an image file of any supported format to upright sRGB pixels.

Modules, each importing only earlier ones: `limits` (size limits), `sniff` (file format), `header`
(image size, without decoding), `files` (Pillow plug-ins and translation of their errors), `damage`
(what is known about it, and what follows), `png_chunks` (checksums), `jpeg_layout`, `jpeg_steps`
(changes of colour after damage), `jpeg` (fast path, warnings), `tiff` (variants that Pillow
misreads), `transparent_colour` (of a PNG), `samples` (any mode to 8 bits and a separate alpha),
`profiles` (builds ICC profiles), `press` (of CMYK without a profile), `cicp` (colour spaces that a
PNG names), `iso_boxes`, `nclx` (those that AVIF and HEIC name), `colour` (profiles to sRGB),
`orientation`, `metadata` (that outputs keep), `leftover`, `line_ends`, `tiff_strips` (damage in
formats other than JPEG and PNG), `decoder` (all steps in order), `isolated` (the decoder in child
processes).
"""

from worker.imaging.decode.decoder import DecodedImage, decode
from worker.imaging.decode.header import Header, peek
from worker.imaging.decode.limits import Limits
from worker.imaging.decode.samples import FLATTENED
from worker.imaging.decode.sniff import needs_isolation, sniff

__all__ = [
    "FLATTENED",
    "DecodedImage",
    "Header",
    "Limits",
    "decode",
    "needs_isolation",
    "peek",
    "sniff",
]
