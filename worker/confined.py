"""The object store as far as this worker's settings allow, whatever a job says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO

from shared.errors import BucketUnavailable
from shared.objects import Body, ObjectInfo, ObjectStore


class ConfinedStore:
    """See `ObjectStore`: reads the input buckets and the output bucket, writes the latter alone.

    A job comes from whoever can write to Redis, so the producer's own check proves nothing. What
    is asked of another bucket raises `BucketUnavailable` and never reaches the store: the job
    waits and says for what, since another worker's settings, or these tomorrow, may allow it.
    """

    def __init__(self, store: ObjectStore, *, inputs: Collection[str], output: str) -> None:
        self._store = store
        self._readable = {*inputs, output}
        self._output = output

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        """See `ObjectStore.get`."""
        self._check_readable(bucket)
        return self._store.get(bucket, key, max_bytes=max_bytes)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        self._check_readable(bucket)
        return self._store.head(bucket, key)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | IO[bytes],
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        """See `ObjectStore.put`."""
        self._check_writable(bucket)
        return self._store.put(
            bucket,
            key,
            data,
            content_type=content_type,
            metadata=metadata,
            if_absent=if_absent,
            if_match=if_match,
        )

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._check_readable(bucket)
        return self._store.list(bucket, prefix, start_after=start_after)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        self._check_writable(bucket)
        self._store.delete(bucket, keys)

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        self._check_readable(bucket)
        return self._store.sign(bucket, key, expires_s=expires_s)

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""
        self._check_readable(bucket)
        self._store.check(bucket)

    def _check_readable(self, bucket: str) -> None:
        if bucket not in self._readable:
            raise BucketUnavailable(f"{bucket} is not in RMBG_INPUT_BUCKETS of this worker")

    def _check_writable(self, bucket: str) -> None:
        if bucket != self._output:
            raise BucketUnavailable(f"{bucket} is not the RMBG_OUTPUT_BUCKET of this worker")
