"""From pixels to the bytes of a file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from shared.job import Json
from worker.stations import png

Level: TypeAlias = Literal["fast", "small"]


def encode_png(pixels: npt.NDArray[np.uint8], *, texts: Mapping[str, str], level: Level) -> bytes:
    """Return *pixels* as a PNG file; the same pixels give the same bytes.

    Safe in any thread; filter and deflate run without the interpreter lock.

    Args:
        pixels: (H, W, 4) RGBA with straight alpha or (H, W) grey, uint8, at least 1 x 1. Written
            as they are: `compose` has cleared what lies under alpha 0.
        texts: Text chunks by keyword, ready to be written; see `png_texts`.
        level: ``fast``: "Up" and ISA-L's deflate. ``small``: adaptive filters and zlib's level 7,
            a little smaller than Pillow's level 6 and a little slower. Figures of both stand in
            ``docs/quality.md``.

    Raises:
        InvalidOption: If a keyword or text cannot stand in a PNG.
    """
    if level == "fast":
        # ISA-L's level 2 is as fast as its level 1 and up to half a percent smaller.
        return png.write(pixels, texts=texts, row_filter=png.up, deflate=isal_zlib.compressobj(2))
    patient = zlib.compressobj(7, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return png.write(pixels, texts=texts, row_filter=png.adaptive, deflate=patient)


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
