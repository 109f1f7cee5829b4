"""The object store over boto3."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from datetime import UTC
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from shared.errors import BucketUnavailable, ImageTooLarge, ObjectMissing, StoreUnavailable
from shared.objects.client import make_client
from shared.objects.errors import FORBIDDEN, NO_KEY, Seam, WriteConflict, code_of
from shared.objects.protocol import Body, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings

_CHECK_KEY: Final = "_jobs/.check"
"""A key that is asked for and need not exist: "no such key" is a good answer."""
_CHECK_S: Final = 9.0
"""`check` promises 10 s; a name server that is away can hold a call far longer than any timeout."""
_CHECK_READ_S: Final = 5.0
_CONFLICT_ROUNDS: Final = 3
_PIECE_BYTES: Final = 1 << 20
_DELETE_KEYS: Final = 1000
"""Most keys of one DeleteObjects request (S3)."""


class S3Store:
    """See `ObjectStore`. S3 or what speaks its protocol, with conditional writes.

    Rights it needs: Get and List where it reads, Get, List and Put where it writes (without List
    Amazon's S3 answers "forbidden" for an object that is merely absent), Delete under `_jobs/`
    and `_preview/`.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        max_connections: int = 32,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 15.0,
        attempts: int = 3,
    ) -> None:
        """Connect to nothing yet.

        Args:
            settings: Where, and who we are.
            max_connections: Connections kept open; at least the threads that use the store.
            connect_timeout_s: Longest wait for a connection, in seconds.
            read_timeout_s: Longest silence within an answer, in seconds.
            attempts: Tries of a request that failed in a way that may pass.

        Raises:
            StoreUnavailable: If boto3's own configuration, where it is used, cannot be read.
        """
        self._seam = Seam(f"S3 at {settings.endpoint or f'AWS {settings.region}'}")

        def client(read_s: float, tries: int) -> S3Client:
            return make_client(
                settings,
                connect_timeout=connect_timeout_s,
                read_timeout=read_s,
                retries={"mode": "standard", "total_max_attempts": tries},
                max_pool_connections=max_connections,
            )

        with self._seam.translate("configuration", ""):
            self._client = client(read_timeout_s, attempts)
            self._checker = client(min(read_timeout_s, _CHECK_READ_S), 1)

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        """See `ObjectStore.get`."""
        with self._seam.translate("get", bucket, key):
            found = self._client.get_object(Bucket=bucket, Key=key)
            size_bytes = found["ContentLength"]
            if max_bytes is not None and size_bytes > max_bytes:
                found["Body"].close()
                raise ImageTooLarge(
                    f"{bucket}/{key} is {size_bytes} bytes long; the limit is {max_bytes}"
                )
            return Body(found["Body"].read(), _bare(found["ETag"]))

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        with self._seam.translate("get", bucket, key):
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        with closing(body):
            while True:
                with self._seam.translate("get", bucket, key):
                    piece = body.read(_PIECE_BYTES)
                if not piece:
                    return
                into.write(piece)  # outside the seam: what it raises is not the store's fault

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        try:
            with self._seam.translate("head", bucket, key):
                found = self._client.head_object(Bucket=bucket, Key=key)
        except ObjectMissing:
            return None
        return ObjectInfo(
            key=key,
            size_bytes=found["ContentLength"],
            etag=_bare(found["ETag"]),
            modified_at=found["LastModified"].astimezone(UTC),
            metadata={name.lower(): value for name, value in found["Metadata"].items()},
        )

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
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'
        start = 0 if isinstance(data, bytes) else data.tell()

        def put() -> str:
            if not isinstance(data, bytes):
                data.seek(start)
            with self._seam.translate("put", bucket, key, conditional=bool(condition)):
                written = self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=data,
                    ContentType=content_type,
                    Metadata=dict(metadata or {}),
                    **condition,
                )
            return _bare(written["ETag"])

        return _without_conflict(put)

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        listing = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, StartAfter=start_after
        )
        pages = iter(listing)
        while True:
            with self._seam.translate("list", bucket):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield ObjectInfo(
                    key=found["Key"],
                    size_bytes=found["Size"],
                    etag=_bare(found["ETag"]),
                    modified_at=found["LastModified"].astimezone(UTC),
                )

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`; 1,000 keys a request."""
        rest = iter(keys)
        while some := list(islice(rest, _DELETE_KEYS)):
            with self._seam.translate("delete", bucket):
                answer = self._client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            for error in answer.get("Errors", ()):
                if (code := error.get("Code", "")) not in NO_KEY:
                    kind = BucketUnavailable if code in FORBIDDEN else StoreUnavailable
                    raise kind(
                        f"{self._seam.service}: delete of {bucket}/{error.get('Key')}: {code}"
                    )

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        with self._seam.translate("sign", bucket, key):
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_s
            )

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""
        outcome: list[Exception | None] = []

        def ask() -> None:
            try:
                self._ask(bucket)
            except Exception as err:  # noqa: BLE001 - raised again by the waiting thread
                outcome.append(err)
            else:
                outcome.append(None)

        thread = threading.Thread(target=ask, name="store check", daemon=True)
        thread.start()
        thread.join(_CHECK_S)
        if not outcome:
            raise StoreUnavailable(
                f"{self._seam.service}: no answer within {_CHECK_S:g} s; check RMBG_S3_ENDPOINT, "
                "its host name and that the service is up"
            )
        if outcome[0] is not None:
            raise outcome[0]

    def _ask(self, bucket: str) -> None:
        """Ask for an object; unlike a HEAD's, the answer says what is missing or refused."""
        with self._seam.translate("get", bucket):
            try:
                self._checker.get_object(Bucket=bucket, Key=_CHECK_KEY)["Body"].close()
            except ClientError as err:
                if code_of(err)[0] != "NoSuchKey":
                    raise


def _without_conflict(put: Callable[[], str]) -> str:
    """Call *put* until no other write is in its way, at most three times."""
    for attempt in range(_CONFLICT_ROUNDS):
        try:
            return put()
        except WriteConflict as err:
            conflict = err
            time.sleep(random.uniform(0.02, 0.2) * (attempt + 1))  # noqa: S311 - no secret
    raise StoreUnavailable(f"{conflict}, {_CONFLICT_ROUNDS} times") from conflict


def _bare(etag: str) -> str:
    return etag.strip('"')
