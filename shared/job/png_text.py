"""PNG text chunks: their keywords, and those of a job's outputs."""

import json
from collections.abc import Mapping
from typing import Final

from shared.errors import InvalidOption
from shared.job.spec import Json

MAX_KEYWORD_CHARS: Final = 79
"""PNG (third edition), 11.3.3.2: a keyword has 1 to 79 Latin-1 characters."""


def keyword_bytes(keyword: str) -> bytes:
    """Return *keyword* encoded in Latin-1.

    Raises:
        InvalidOption: If PNG does not allow the keyword.
    """
    allowed = all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in keyword)
    tidy = keyword == keyword.strip() and "  " not in keyword
    if not (allowed and tidy and 1 <= len(keyword) <= MAX_KEYWORD_CHARS):
        raise InvalidOption(
            f"text keyword {keyword!r}: PNG allows 1 to {MAX_KEYWORD_CHARS} Latin-1 characters,"
            " without leading, trailing or double spaces"
        )
    return keyword.encode("latin-1")


def png_texts(
    prompt: Json, extra_pnginfo: Mapping[str, Json] | None, rmbg: Mapping[str, Json]
) -> dict[str, str]:
    """Return the text chunks of an output: those of the ComfyUI node, and ``rmbg``.

    Args:
        prompt: JSON of the chunk ``prompt``; omitted if None.
        extra_pnginfo: JSON of one chunk per key; the keys ``prompt`` and ``rmbg`` are overridden
            by the other two arguments.
        rmbg: JSON of the chunk ``rmbg``: model, SHA-256 of the weights, version, parameters.
    """
    chunks = dict(extra_pnginfo or {})
    if prompt is not None:
        chunks["prompt"] = prompt
    chunks["rmbg"] = dict(rmbg)
    first = {"prompt": chunks.pop("prompt")} if "prompt" in chunks else {}
    return {key: json.dumps(value) for key, value in (first | chunks).items()}
