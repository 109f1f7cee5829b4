"""Encode pixels as the bytes of a file; one encoder for each output format."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from shared.job.options import OutputFormat, PictureOptions
from worker.imaging.encode.png import encode_png
from worker.imaging.types import Cutout, Mask, SourceMetadata

Encoder: TypeAlias = Callable[
    [Cutout | Mask, Mapping[str, str], SourceMetadata, PictureOptions], bytes
]
"""Pixels, text chunks, metadata and options to a file; the same arguments give the same bytes."""

ENCODERS: Final[Mapping[OutputFormat, Encoder]] = {
    OutputFormat.PNG: lambda pixels, texts, metadata, options: encode_png(
        pixels, texts=texts, metadata=metadata, level=options.png
    ),
}
