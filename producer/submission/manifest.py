"""Stage a job's image keys as packed chunks, and hash them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.job.keys import manifest_key
from shared.job.manifest import CHUNK_KEYS, pack

if TYPE_CHECKING:
    from shared.jobstore.store import JobStore
    from shared.objects import ObjectStore

_CHUNKS_A_CALL: Final = 64
"""A staging call carries 32,768 keys, about 200 kB: few round trips and little memory."""
_UPLOADS: Final = 16


@dataclass(frozen=True)
class Staged:
    """The keys that were staged."""

    total: int
    keys_sha256: str


def stage(
    keys: Iterable[str], nonce: str, *, store: JobStore, objects: ObjectStore, bucket: str
) -> Staged:
    """Stage *keys* under *nonce*, for the job that is submitted with it.

    Redis stores the chunks of the first `Rules.keys_in_redis` keys, and the bucket the others. At
    most 32,768 keys are held in memory. Without keys nothing is written.

    Raises:
        RedisUnavailable: If Redis cannot store the keys.
        StoreUnavailable: If the bucket cannot store the further keys.
    """
    digest = hashlib.sha256()
    total, first = 0, 0
    chunks = _chunks(keys)
    put = functools.partial(objects.put, bucket, content_type="application/zlib")
    with ThreadPoolExecutor(_UPLOADS) as pool:
        while group := list(itertools.islice(chunks, _CHUNKS_A_CALL)):
            for chunk in group:
                total += len(chunk)
                digest.update(json.dumps(chunk).encode())  # JSON: different lists never look alike
            packed = [pack(chunk) for chunk in group]
            here = max(0, -(-store.rules.keys_in_redis // CHUNK_KEYS) - first)
            if packed[:here]:
                store.submissions.stage(nonce, first, packed[:here])
            names = [manifest_key(nonce, first + n) for n in range(here, len(packed))]
            list(pool.map(put, names, packed[here:]))  # raises what an upload raises
            first += len(packed)
    return Staged(total, digest.hexdigest())


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    walk = iter(keys)
    while chunk := list(itertools.islice(walk, CHUNK_KEYS)):
        yield chunk
