"""What producer and worker need of an object store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NotRequired, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime


class PreconditionFailed(Exception):
    """A conditional `put` found another object than it demanded; nothing was written.

    No `RmbgError`: it is an answer that the caller asked for, and decides upon.
    """


@dataclass(frozen=True)
class Body:
    """An object's bytes, and the tag that names exactly these."""

    data: bytes
    etag: str
    """Without quotes, as everywhere here."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime
    """Aware, UTC; S3 keeps whole seconds."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; always empty in a listing, which does not tell them."""


class PutOptions(TypedDict):
    """The named arguments of `ObjectStore.put`, for whoever passes them on."""

    content_type: str
    metadata: NotRequired[Mapping[str, str] | None]
    if_absent: NotRequired[bool]
    if_match: NotRequired[str | None]


class ObjectStore(Protocol):
    """What producer and worker need of a store; implementations are safe in several threads.

    Every method may raise `StoreUnavailable` (not reachable, out of order, slow, credentials
    refused: the same call may succeed later), `BucketUnavailable` (the bucket is missing or
    forbidden, until somebody mends that) and `InvalidKey` (the store takes no such key).
    """

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        """Read an object in one go.

        Raises:
            ObjectMissing: If there is none.
            ImageTooLarge: If it is over *max_bytes*; nothing of it is read then.
        """
        ...

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """Write an object's bytes to *into* from where it stands; they are never held together.

        After an error a part of them may be there.

        Raises:
            ObjectMissing: If there is none; nothing was written.
        """
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None if there is none.

        A missing bucket gives None too: S3 answers a HEAD without saying what is missing.
        """
        ...

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
        """Write an object whole or not at all, and return its ETag.

        Without a condition it replaces what is there, so a repetition is harmless. With one, a
        request that succeeded but whose answer was lost is sent again and then finds its own
        object: a caller must look at what is there before it takes `PreconditionFailed` for
        another's work.

        Args:
            bucket: Where to.
            key: Where to.
            data: The bytes, or a seekable file, which is sent from where it stands to its end.
            content_type: MIME type.
            metadata: ASCII names and values, 2 kB in all; names come back in lower case.
            if_absent: Write only if nothing is there.
            if_match: Write only if the object there has this ETag.

        Raises:
            PreconditionFailed: If the condition did not hold; nothing was written.
        """
        ...

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects below *prefix*, page by page, in the store's order.

        That is the order of the keys' bytes with S3; SeaweedFS goes folder by folder (`a/b` before
        `a-b`). Only one page is held at a time, and asked for when the one before is used up.

        Args:
            bucket: The bucket.
            prefix: What the keys begin with; `""`: all.
            start_after: A key; it and those before it are left out.
        """
        ...

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Remove objects; a key where there is none is no error, so a repetition is harmless."""
        ...

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """Return a URL that reads the object without credentials; asks no server.

        Args:
            bucket: The bucket.
            key: The object, which need not exist.
            expires_s: How long the URL is good for; S3 allows 7 days.
        """
        ...

    def check(self, bucket: str) -> None:
        """Find out within 10 s whether objects in *bucket* can be read.

        Raises:
            StoreUnavailable: If not, whatever the bucket: address or credentials are wrong, or
                the service is away. The text says where and what to check, and holds no secret.
            BucketUnavailable: If not in this bucket.
        """
        ...
