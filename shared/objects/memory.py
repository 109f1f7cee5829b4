"""An object store in memory, for the worker's self-check and for tests."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Final, Unpack

from shared.errors import BucketUnavailable, ImageTooLarge, InvalidKey, ObjectMissing
from shared.objects.protocol import Body, ObjectInfo, PreconditionFailed, PutOptions

MAX_KEY_BYTES: Final = 1024
MAX_SEGMENT_CHARS: Final = 255


@dataclass(frozen=True)
class _Object:
    data: bytes
    info: ObjectInfo


class MemoryStore:
    """An `ObjectStore` in memory. Every bucket exists, except those in `missing`."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], _Object] = {}
        self._lock = threading.Lock()
        self.missing: set[str] = set()

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        """See `ObjectStore.get`."""
        return self._read("get", bucket, key, max_bytes)

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        into.write(self._read("download", bucket, key).data)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`; like S3, return None for a missing bucket too."""
        found = self._objects.get((bucket, key))
        return None if found is None else found.info

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        """See `ObjectStore.put`."""
        _check_key(bucket, key)
        self._require("put", bucket)
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
            found = self._objects.get((bucket, key))
            if not _condition_holds(found, options):
                raise PreconditionFailed(f"{bucket}/{key}: the condition does not hold")
            self._objects[bucket, key] = _Object(content, info)
        return info.etag

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._require("list", bucket)
        for key in self.keys(bucket):
            if key.startswith(prefix) and key > start_after:
                yield replace(self._objects[bucket, key].info, metadata={})

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        self._require("delete", bucket)
        for key in keys:
            self._objects.pop((bucket, key), None)

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        return f"memory://{bucket}/{key}?expires={expires_s}"

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""
        self._require("check", bucket)

    def _read(self, operation: str, bucket: str, key: str, max_bytes: int | None = None) -> Body:
        self._require(operation, bucket)
        found = self._objects.get((bucket, key))
        if found is None:
            raise ObjectMissing(
                f"{bucket}/{key}: object not found",
                bucket=bucket,
                operation=operation,
                code="NoSuchKey",
            )
        if max_bytes is not None and len(found.data) > max_bytes:
            raise ImageTooLarge(
                f"{bucket}/{key} is {len(found.data)} bytes long; the limit is {max_bytes}",
                bucket=bucket,
                operation=operation,
            )
        return Body(found.data, found.info.etag)

    def _require(self, operation: str, bucket: str) -> None:
        if bucket in self.missing:
            raise BucketUnavailable(
                f"{bucket}: bucket not found",
                bucket=bucket,
                operation=operation,
                code="NoSuchBucket",
            )

    def keys(self, bucket: str) -> tuple[str, ...]:
        """Return all keys of *bucket* in the order of their bytes."""
        with self._lock:
            return tuple(
                sorted((key for name, key in self._objects if name == bucket), key=str.encode)
            )


def _condition_holds(found: _Object | None, options: PutOptions) -> bool:
    if options.get("if_absent"):
        return found is None
    wanted = options.get("if_match")
    return wanted is None or (found is not None and found.info.etag == wanted)


def _check_key(bucket: str, key: str) -> None:
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as err:
        text = f"{bucket}/{key!r}: a key must be valid Unicode"
        raise InvalidKey(text, bucket=bucket, operation="put") from err
    longest = max(map(len, key.split("/")))
    if not key or size_bytes > MAX_KEY_BYTES or longest > MAX_SEGMENT_CHARS:
        text = f"{bucket}/{key!r}: the store does not accept a key of {size_bytes} bytes"
        raise InvalidKey(text, bucket=bucket, operation="put")
