"""From pixels to the bytes of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from zlib_ng import zlib_ng

from shared.job.spec import Json
from worker.imaging.encode import png

Level: TypeAlias = Literal["fast", "small"]

_GRAINLESS: Final = 0.26
"""Deflated share of the bytes that are not cleared, below which ISA-L, which looks for matches
once, leaves over a quarter more than Pillow's level 6 (measured: ``docs/quality.md``)."""
_STRIPS: Final = 8
_STRIP_ROWS: Final = 8
"""Eight strips of eight rows: 3 % of a picture of 2000 rows, half a millisecond."""


def encode_png(pixels: npt.NDArray[np.uint8], *, texts: Mapping[str, str], level: Level) -> bytes:
    """Return *pixels* as a PNG file; the same pixels give the same bytes.

    Safe in any thread; filter and deflate run without the interpreter lock.

    Args:
        pixels: (H, W, 4) RGBA with straight alpha or (H, W) grey, uint8, at least 1 x 1. Written
            as they are: `compose` has cleared what lies under alpha 0.
        texts: Text chunks by keyword, ready to be written; see `png_texts`.
        level: ``fast``: "Up" and ISA-L's deflate, or zlib-ng's for pictures almost without grain.
            ``small``: adaptive filters and zlib-ng's level 7, a little smaller than Pillow's
            level 6 and a little faster. Figures of both stand in ``docs/quality.md``.

    Raises:
        InvalidOption: If a keyword or text cannot stand in a PNG.
    """
    if level == "fast":
        return png.write(pixels, texts=texts, row_filter=png.up, deflate=_fast_deflate(pixels))
    return png.write(pixels, texts=texts, row_filter=png.adaptive, deflate=_zlib_ng(7))


def _fast_deflate(pixels: npt.NDArray[np.uint8]) -> png.Deflate:
    """Return the compressor that suits *pixels*.

    zlib-ng takes about twice as long as ISA-L. Where there is little to write that is little time,
    and it saves a fifth of the bytes; where there is grain neither finds more.
    """
    rows = pixels.reshape(len(pixels), -1)
    tops = np.linspace(0, max(0, len(rows) - _STRIP_ROWS - 1), _STRIPS).astype(int)
    strips = [rows[top : top + _STRIP_ROWS + 1] for top in tops]
    sample = np.ascontiguousarray(np.concatenate([strip[1:] - strip[:-1] for strip in strips]))
    shown_bytes = sum(np.count_nonzero(strip[1:]) for strip in strips)
    if len(isal_zlib.compress(sample.data, 1)) < _GRAINLESS * shown_bytes:
        return _zlib_ng(2)
    # Level 2 is as fast as level 1 and up to half a percent smaller.
    return isal_zlib.compressobj(2)


def _zlib_ng(level: int) -> png.Deflate:
    """Return zlib-ng's compressor with most memory and the strategy for filtered rows."""
    return zlib_ng.compressobj(
        level, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, zlib_ng.DEF_MEM_LEVEL + 1, zlib_ng.Z_FILTERED
    )


def png_texts(
    prompt: Json, extra_pnginfo: Mapping[str, Json] | None, rmbg: Mapping[str, Json]
) -> dict[str, str]:
    """Return the text chunks of an output, as the ComfyUI node writes them, and one of ours.

    Args:
        prompt: Becomes ``prompt``, as JSON; None: left out.
        extra_pnginfo: Each key becomes a chunk with its value as JSON; ``prompt`` and ``rmbg``
            among them give way to the other two arguments.
        rmbg: What made the picture (model, weights' SHA-256, version, parameters): ``rmbg``.
    """
    chunks = dict(extra_pnginfo or {})
    if prompt is not None:
        chunks["prompt"] = prompt
    chunks["rmbg"] = dict(rmbg)
    first = {"prompt": chunks.pop("prompt")} if "prompt" in chunks else {}
    return {key: json.dumps(value) for key, value in (first | chunks).items()}
