"""The interface of an object store."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Final, NotRequired, Protocol, TypedDict

from shared.errors import StoreError

WAITING_FOR: Final = "object store"
"""How `waiting_for` of a job names an outage of the store; the reason follows."""


class PreconditionFailed(StoreError):
    """The condition of a `put` does not hold; nothing was written.

    Not an `RmbgError`: the caller asked for this answer and handles it.
    """


@dataclass(frozen=True)
class Body:
    """An object's bytes and the ETag of exactly these bytes."""

    data: bytes
    etag: str
    """Without quotes, as in the whole package."""


class OpenObject(Protocol):
    """An object whose response has begun: its size is known, and its bytes are not read yet."""

    size_bytes: int
    etag: str
    """ETag of exactly the bytes that `read` returns."""

    def read(self) -> bytes:
        """Read all bytes; call it at most once."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """Properties of an object, without its bytes."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime
    """Aware, in UTC; S3 stores whole seconds."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; always empty in a listing."""


class PutOptions(TypedDict):
    """Keyword arguments of `ObjectStore.put`, for code that forwards them."""

    content_type: str
    metadata: NotRequired[Mapping[str, str] | None]
    if_absent: NotRequired[bool]
    if_match: NotRequired[str | None]


class ObjectStore(Protocol):
    """An object store; implementations are thread-safe.

    Every method may raise `StoreUnavailable` (unreachable, failing, slow, or credentials refused;
    the same call may succeed later), `BucketUnavailable` (the bucket is missing or forbidden until
    somebody fixes that) and `InvalidKey` (the store does not accept the key).
    """

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        """Request an object, so that the caller knows its size before it reads the bytes.

        Leaving the context without a `read` closes the connection, and the bytes are not received.

        Raises:
            ObjectMissing: If there is no object.
        """

    def get(self, bucket: str, key: str) -> Body:
        """Read a whole object.

        Raises:
            ObjectMissing: If there is no object.
        """

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """Stream an object's bytes to the current position of *into*.

        After an error, part of the bytes may have been written.

        Raises:
            ObjectMissing: If there is no object; nothing was written.
        """

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Return an object's properties, or None if there is no object.

        A missing bucket gives None as well, because S3's response to HEAD does not say what is
        missing.
        """

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
        """Write an object atomically and return its ETag.

        Without a condition it replaces an existing object, so a repetition is harmless. With a
        condition, a request whose response was lost is sent again and then finds its own object:
        after `PreconditionFailed`, check which object is there.

        Args:
            bucket: The bucket.
            key: The key.
            data: The bytes, or a seekable file, which is sent from its current position.
            content_type: MIME type.
            metadata: ASCII names and values, 2 kB in all; names are returned in lower case.
            if_absent: Write only if there is no object.
            if_match: Write only if the object has this ETag.

        Raises:
            PreconditionFailed: If the condition does not hold; nothing was written.
        """

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with *prefix*, in the store's order.

        S3 orders by the bytes of the keys; SeaweedFS goes folder by folder (`a/b` before `a-b`).
        One page is held at a time; the next is requested when it is exhausted.

        Args:
            bucket: The bucket.
            prefix: Start of the keys; `""` for all keys.
            start_after: Skip this key and those before it.
        """

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects; a missing object is not an error, so a repetition is harmless."""

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """Return a URL that reads the object without credentials; makes no request.

        Args:
            bucket: The bucket.
            key: Key of the object, which need not exist.
            expires_s: How long the URL is valid, in seconds; S3 allows 7 days.
        """

    def check(self, bucket: str) -> None:
        """Check within 10 s that objects in *bucket* can be read.

        Raises:
            StoreUnavailable: If address or credentials are wrong or the service is down. The
                message says what to check and holds no secret.
            BucketUnavailable: If this bucket is missing or forbidden.
        """
