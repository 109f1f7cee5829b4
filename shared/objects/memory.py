"""An object store in memory, for the worker's self-check and for tests."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Final, Unpack

from shared.errors import InvalidKey, ObjectMissing
from shared.job.keys import MAX_KEY_BYTES
from shared.objects.protocol import (
    Body,
    ObjectInfo,
    OpenObject,
    PreconditionFailed,
    PutOptions,
)

MAX_SEGMENT_CHARS: Final = 255


@dataclass
class _MemoryObject:
    """See `OpenObject`."""

    size_bytes: int
    etag: str
    data: bytes

    def read(self) -> bytes:
        """See `OpenObject.read`."""
        return self.data


class MemoryStore:
    """An `ObjectStore` in memory, in which every bucket exists."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], tuple[bytes, ObjectInfo]] = {}
        self._lock = threading.Lock()

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        """See `ObjectStore.open`."""
        body = self._read("get", bucket, key)
        return nullcontext(_MemoryObject(len(body.data), body.etag, body.data))

    def get(self, bucket: str, key: str) -> Body:
        """See `ObjectStore.get`."""
        with self.open(bucket, key) as opened:
            return Body(opened.read(), opened.etag)

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        into.write(self._read("download", bucket, key).data)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        _, info = self._objects.get((bucket, key), (b"", None))
        return info

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        """See `ObjectStore.put`."""
        _check_key(bucket, key)
        content = data if isinstance(data, bytes) else data.read()
        metadata = options.get("metadata") or {}
        info = ObjectInfo(
            key=key,
            size_bytes=len(content),
            etag=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            modified_at=datetime.now(UTC).replace(microsecond=0),
            metadata={name.lower(): value for name, value in metadata.items()},
        )
        with self._lock:
            _, found = self._objects.get((bucket, key), (b"", None))
            if not _condition_holds(found, options):
                raise PreconditionFailed(f"{bucket}/{key}: the condition does not hold")
            self._objects[bucket, key] = content, info
        return info.etag

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        for key in self.keys(bucket):
            if key.startswith(prefix) and key > start_after:
                yield replace(self._objects[bucket, key][1], metadata={})

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        for key in keys:
            self._objects.pop((bucket, key), None)

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        return f"memory://{bucket}/{key}?expires={expires_s}"

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""

    def _read(self, operation: str, bucket: str, key: str) -> Body:
        found = self._objects.get((bucket, key))
        if found is None:
            raise ObjectMissing(
                f"{bucket}/{key}: object not found",
                bucket=bucket,
                operation=operation,
                code="NoSuchKey",
            )
        data, info = found
        return Body(data, info.etag)

    def keys(self, bucket: str) -> tuple[str, ...]:
        """Return all keys of *bucket* in the order of their bytes."""
        with self._lock:
            return tuple(
                sorted((key for name, key in self._objects if name == bucket), key=str.encode)
            )


def _condition_holds(found: ObjectInfo | None, options: PutOptions) -> bool:
    if options.get("if_absent"):
        return found is None
    wanted = options.get("if_match")
    return wanted is None or (found is not None and found.etag == wanted)


def _check_key(bucket: str, key: str) -> None:
    longest = max(map(len, key.split("/")))
    try:
        is_valid = 0 < len(key.encode()) <= MAX_KEY_BYTES and longest <= MAX_SEGMENT_CHARS
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        text = f"{bucket}/{key!r}: the store does not accept this key"
        raise InvalidKey(text, bucket=bucket, operation="put")
