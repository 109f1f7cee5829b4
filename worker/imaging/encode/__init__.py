"""Encode pixels as the bytes of a file; one encoder for each output format."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from shared.job.spec import OutputFormat, PictureOptions
from worker.imaging.encode.png import encode_png
from worker.imaging.types import Cutout, Mask

Encoder: TypeAlias = Callable[[Cutout | Mask, Mapping[str, str], PictureOptions], bytes]
"""Pixels, text chunks and options to a file; the same arguments give the same bytes."""

ENCODERS: Final[Mapping[OutputFormat, Encoder]] = {
    OutputFormat.PNG: lambda pixels, texts, options: encode_png(
        pixels, texts=texts, level=options.png
    ),
}
