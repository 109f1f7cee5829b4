"""The stations of the line, gathered, so that benchmarks and faults can put in their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.job.spec import Json, PictureOptions
from shared.job.thresholds import Thresholds
from worker.imaging.compose import compose
from worker.imaging.decode import Decoded, Limits, decode, needs_isolation, peek, sniff
from worker.imaging.decode.isolated.decoder import IsolatedDecoder
from worker.imaging.encode.encoder import encode_png
from worker.imaging.quality import measure
from worker.imaging.types import Cutout, Mask, RgbImage
from worker.imaging.verdict import judge


@dataclass(frozen=True, kw_only=True)
class Stations:
    """What the engine calls between download and upload, apart from the model."""

    peek: Callable[[bytes], int]
    """Bytes to decoded pixels, from the header alone; raises `ItemError` over a limit."""
    decode: Callable[[bytes, PictureOptions, bool], Decoded]
    """Bytes, options and whether to decode in a child process whatever the format."""
    measure: Callable[[Mask, float, float, Thresholds], tuple[dict[str, Json], str]]
    """Mask, least and greatest network output, limits; to figures with the verdict, and that."""
    compose: Callable[[RgbImage, Mask, PictureOptions], Cutout]
    encode: Callable[[Cutout | Mask, Mapping[str, str], PictureOptions], bytes]


def real_stations(*, max_pixels: int, max_bytes: int, children: int) -> Stations:
    """Return the stations that workers run; *children* is the most decoders apart at a time.

    JPEG and PNG are decoded in threads. Formats whose libraries parse in C without such a record,
    and everything that may have killed a worker, are decoded in a process of their own.
    """
    limits = Limits(max_pixels=max_pixels, max_bytes=max_bytes)
    apart = IsolatedDecoder(limits, children=children)

    def count_pixels(data: bytes) -> int:
        header = peek(data, limits)
        return header.width * header.height

    def decode_any(data: bytes, options: PictureOptions, isolate: bool) -> Decoded:  # noqa: FBT001
        if isolate or needs_isolation(sniff(data)):
            return apart.decode(data, truncated=options.truncated)
        return decode(data, limits, truncated=options.truncated)

    return Stations(
        peek=count_pixels,
        decode=decode_any,
        measure=figures_and_verdict,
        compose=lambda image, mask, options: compose(image, mask, edges=options.edges),
        encode=lambda pixels, texts, options: encode_png(pixels, texts=texts, level=options.png),
    )


def figures_and_verdict(
    mask: Mask, low: float, high: float, thresholds: Thresholds
) -> tuple[dict[str, Json], str]:
    """Return what a record says of a mask, and what should be done with the picture."""
    figures = measure(mask, low=low, high=high)
    verdict = judge(figures, thresholds)
    said: dict[str, Json] = {"verdict": verdict.verdict}
    if verdict.reasons:
        said["reasons"] = "; ".join(verdict.reasons)
    return figures.to_json() | said, verdict.verdict
