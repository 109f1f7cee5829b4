"""A job's image keys in order, packed in chunks; written by producers, read by workers."""

import json
import zlib
from collections.abc import Sequence
from typing import Final

CHUNK_KEYS: Final = 512
"""Keys a chunk: about 6 bytes of Redis a key; a ticket of 256 items reads one or two chunks."""
MAX_REDIS_KEYS: Final = 1_000_000
"""Chunks of keys past this many lie in the output bucket (`shared.job.keys.manifest_key`)."""


def pack(keys: Sequence[str]) -> bytes:
    """Return one chunk: JSON, since a key may hold any character, then zlib."""
    return zlib.compress(json.dumps(keys, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def unpack(chunk: bytes) -> list[str]:
    """Return the keys of a chunk that `pack` made."""
    keys: list[str] = json.loads(zlib.decompress(chunk).decode("utf-8", "surrogatepass"))
    return keys


def chunks_of(span: range) -> range:
    """Return the numbers of the chunks that hold the items of *span*.

    >>> list(chunks_of(range(500, 520)))
    [0, 1]
    """
    return range(span.start // CHUNK_KEYS, (span.stop - 1) // CHUNK_KEYS + 1)
