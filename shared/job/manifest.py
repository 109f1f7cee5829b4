"""Pack a job's image keys in chunks; producers write them, workers read them."""

import json
import zlib
from collections.abc import Sequence
from typing import Final

CHUNK_KEYS: Final = 512
"""Keys per chunk. A key takes about 6 bytes of Redis; a ticket of 256 items reads 1 or 2 chunks."""
MAX_REDIS_KEYS: Final = 1_000_000
"""Most keys in Redis; further chunks are in the output bucket (see `keys.manifest_key`)."""


def pack(keys: Sequence[str]) -> bytes:
    """Return a chunk: JSON, as a key may hold any character, compressed with zlib."""
    return zlib.compress(json.dumps(keys, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def unpack(chunk: bytes) -> list[str]:
    """Return the keys of a chunk that `pack` returned."""
    keys: list[str] = json.loads(zlib.decompress(chunk).decode("utf-8", "surrogatepass"))
    return keys


def chunks_of(span: range) -> range:
    """Return the numbers of the chunks that hold the items of *span*.

    >>> list(chunks_of(range(500, 520)))
    [0, 1]
    """
    return range(span.start // CHUNK_KEYS, (span.stop - 1) // CHUNK_KEYS + 1)
