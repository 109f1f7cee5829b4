"""Base class for object stores that wrap another store and change some of its calls."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Unpack

from shared.objects.protocol import Body, ObjectInfo, ObjectStore, OpenObject, PutOptions


class StoreWrapper:
    """An object store that forwards every call to another store.

    A subclass overrides the calls that it changes, or `_reader` and `_writer` to choose a store by
    bucket.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        """See `ObjectStore.open`."""
        return self._reader(bucket).open(bucket, key)

    def get(self, bucket: str, key: str) -> Body:
        """See `ObjectStore.get`."""
        return self._reader(bucket).get(bucket, key)

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        self._reader(bucket).download(bucket, key, into)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        return self._reader(bucket).head(bucket, key)

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        """See `ObjectStore.put`."""
        return self._writer(bucket).put(bucket, key, data, **options)

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self._reader(bucket).list(bucket, prefix, start_after=start_after)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        self._writer(bucket).delete(bucket, keys)

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        return self._reader(bucket).sign(bucket, key, expires_s=expires_s)

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""
        self._reader(bucket).check(bucket)

    def _reader(self, bucket: str) -> ObjectStore:  # noqa: ARG002 - overrides use it
        """Return the store that reads from *bucket*."""
        return self._store

    def _writer(self, bucket: str) -> ObjectStore:  # noqa: ARG002 - overrides use it
        """Return the store that writes to *bucket*."""
        return self._store
