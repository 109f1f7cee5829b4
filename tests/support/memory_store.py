"""An object store in memory, which keeps the promises that writers rely on.

`tests/contracts/test_memory_store.py` holds it to the same rules as the real one.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from shared.errors import BucketUnavailable, ImageTooLarge, InvalidKey, ObjectMissing
from shared.objects import Body, ObjectInfo, PreconditionFailed


@dataclass(frozen=True)
class _Object:
    data: bytes
    info: ObjectInfo
    content_type: str


class MemoryStore:
    """See `ObjectStore`. Every bucket exists, but those in `missing`."""

    def __init__(self):
        self._objects: dict[tuple[str, str], _Object] = {}
        self._lock = threading.Lock()
        self.missing: set[str] = set()
        self.before = lambda call, bucket, key: None
        """Called first in every call: a test may raise a fault here, or wait, or interfere."""

    def get(self, bucket, key, *, max_bytes=None):
        found = self._find("get", bucket, key)
        if found is None:
            raise ObjectMissing(f"{bucket}/{key}: there is no such object")
        if max_bytes is not None and len(found.data) > max_bytes:
            raise ImageTooLarge(
                f"{bucket}/{key} is {len(found.data)} bytes long; the limit is {max_bytes}"
            )
        return Body(found.data, found.info.etag)

    def download(self, bucket, key, into):
        into.write(self.get(bucket, key).data)

    def head(self, bucket, key):
        """As S3 does, it answers None for a missing bucket too."""
        self.before("head", bucket, key)
        with self._lock:
            found = self._objects.get((bucket, key))
        return None if found is None else found.info

    def put(
        self, bucket, key, data, *, content_type, metadata=None, if_absent=False, if_match=None
    ):
        _check(key)
        self._enter("put", bucket, key)
        content = data if isinstance(data, bytes) else data.read()
        etag = hashlib.md5(content).hexdigest()
        info = ObjectInfo(
            key=key,
            size_bytes=len(content),
            etag=etag,
            modified_at=datetime.now(UTC).replace(microsecond=0),
            metadata={name.lower(): value for name, value in (metadata or {}).items()},
        )
        with self._lock:
            there = self._objects.get((bucket, key))
            absent = there is None
            if (if_absent and not absent) or (
                if_match is not None and (absent or there.info.etag != if_match)
            ):
                raise PreconditionFailed(f"{bucket}/{key}: the condition fails")
            self._objects[bucket, key] = _Object(content, info, content_type)
        return etag

    def list(self, bucket, prefix, *, start_after=""):
        self._enter("list", bucket, prefix)
        with self._lock:
            found = [each.info for (name, _), each in self._objects.items() if name == bucket]
        for info in sorted(found, key=lambda info: info.key.encode()):
            if info.key.startswith(prefix) and info.key > start_after:
                yield replace(info, metadata={})

    def delete(self, bucket, keys):
        for key in keys:
            self._enter("delete", bucket, key)
            with self._lock:
                self._objects.pop((bucket, key), None)

    def sign(self, bucket, key, *, expires_s):
        return f"memory://{bucket}/{key}?expires={expires_s}"

    def check(self, bucket):
        self._enter("check", bucket, "")

    def keys(self, bucket):
        """Return all keys of *bucket* in order."""
        with self._lock:
            return sorted(key for name, key in self._objects if name == bucket)

    def _find(self, call, bucket, key):
        self._enter(call, bucket, key)
        with self._lock:
            return self._objects.get((bucket, key))

    def _enter(self, call, bucket, key):
        self.before(call, bucket, key)
        if bucket in self.missing:
            raise BucketUnavailable(f"{call} of bucket {bucket}: there is no such bucket")


def _check(key):
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as err:
        raise InvalidKey(f"{key!r} is no Unicode") from err
    if not key or size_bytes > 1024 or max(map(len, key.split("/"))) > 255:
        raise InvalidKey(f"the store takes no key of {size_bytes} bytes: {key!r}")
