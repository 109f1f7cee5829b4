"""An object store over boto3."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from shared.deadline import within
from shared.errors import ObjectMissing, StoreUnavailable
from shared.objects.answers import NO_KEY, Answer
from shared.objects.client import make_client
from shared.objects.errors import ErrorTranslator
from shared.objects.file_body import FileBody
from shared.objects.protocol import Body, ObjectInfo, OpenObject, PreconditionFailed
from shared.objects.response import Response
from shared.objects.write_conflict import without_conflict

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings

_CHECK_KEY: Final = "_jobs/.check"
"""Key that `check` requests; it need not exist."""
_CHECK_S: Final = 9.0
"""`check` answers within 10 s; a DNS server that is down can block a call beyond all timeouts."""
_CHECK_READ_S: Final = 5.0
_PIECE_BYTES: Final = 1 << 20
_DELETE_KEYS: Final = 1000
"""S3's limit for one DeleteObjects request."""


class S3Store:
    """An `ObjectStore` on S3 or a compatible server with conditional writes.

    Required permissions: Get and List on buckets it reads; Get, List and Put on buckets it writes;
    Delete under `_jobs/` and `_preview/`. Without List, Amazon's S3 answers "access denied" for an
    object that does not exist.
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
        """Create the clients; no connection is made yet.

        Args:
            settings: Address and credentials.
            max_connections: Connections kept open; at least the threads that use the store.
            connect_timeout_s: Timeout for connecting, in seconds.
            read_timeout_s: Timeout between two reads of a response, in seconds.
            attempts: Attempts of a request that fails with a transient error.

        Raises:
            StoreUnavailable: If boto3's own configuration is used and cannot be read.
        """
        self._conditional = settings.conditional
        self._errors = ErrorTranslator(f"S3 at {settings.endpoint or f'AWS {settings.region}'}")

        def client(read_s: float, tries: int) -> S3Client:
            return make_client(
                settings,
                connect_timeout=connect_timeout_s,
                read_timeout=read_s,
                retries={"mode": "standard", "total_max_attempts": tries},
                max_pool_connections=max_connections,
            )

        with self._errors.translate("configuration", ""):
            self._client = client(read_timeout_s, attempts)
            self._checker = client(min(read_timeout_s, _CHECK_READ_S), 1)

    @property
    def service(self) -> str:
        """`S3 at ADDRESS`, for messages."""
        return self._errors.service

    @property
    def client(self) -> S3Client:
        """The client of boto3, which knows what was configured."""
        return self._client

    @contextmanager
    def open(self, bucket: str, key: str) -> Iterator[OpenObject]:
        """See `ObjectStore.open`."""
        with self._errors.translate("get", bucket, key):
            found = self._client.get_object(Bucket=bucket, Key=key)
        with closing(found["Body"]) as body:
            size_bytes, etag = found["ContentLength"], bare_etag(found["ETag"])
            yield Response(size_bytes, etag, body, self._errors, (bucket, key))

    def get(self, bucket: str, key: str) -> Body:
        """See `ObjectStore.get`."""
        with self.open(bucket, key) as opened:
            return Body(opened.read(), opened.etag)

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        with closing(self._pieces(bucket, key)) as pieces:
            for piece in pieces:
                into.write(piece)  # not inside `translate`: its errors are not the store's

    def _pieces(self, bucket: str, key: str) -> Generator[bytes, None, None]:
        with (
            self._errors.translate("download", bucket, key),
            closing(self._client.get_object(Bucket=bucket, Key=key)["Body"]) as body,
        ):
            yield from body.iter_chunks(_PIECE_BYTES)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        try:
            with self._errors.translate("head", bucket, key):
                found = self._client.head_object(Bucket=bucket, Key=key)
        except ObjectMissing:
            return None
        return ObjectInfo(
            key=key,
            size_bytes=found["ContentLength"],
            etag=bare_etag(found["ETag"]),
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
        if condition and not self._conditional:
            self._check_condition(bucket, key, if_match)
            condition = {}
        body = data if isinstance(data, bytes) else FileBody(data)

        def put() -> str:
            if isinstance(body, FileBody):
                body.seek(0)
            with self._errors.translate("put", bucket, key, conditional=bool(condition)):
                written = self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=cast("bytes", body),  # the stubs want a whole `IO`
                    ContentType=content_type,
                    Metadata=dict(metadata or {}),
                    **condition,
                )
            return bare_etag(written["ETag"])

        return without_conflict(put)

    def _check_condition(self, bucket: str, key: str, if_match: str | None) -> None:
        """Check a condition before the write, for a store that cannot check it while it writes."""
        found = self.head(bucket, key)
        if (found.etag if found else None) != if_match:
            raise PreconditionFailed(f"{bucket}/{key}: the condition does not hold")

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, StartAfter=start_after
        )
        with self._errors.translate("list", bucket):  # sees no error of the caller's loop
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ObjectInfo(
                        key=found["Key"],
                        size_bytes=found["Size"],
                        etag=bare_etag(found["ETag"]),
                        modified_at=found["LastModified"].astimezone(UTC),
                    )

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`; one request deletes 1,000 keys."""
        rest = iter(keys)
        while some := list(islice(rest, _DELETE_KEYS)):
            with self._errors.translate("delete", bucket):
                answer = self._client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            for error in answer.get("Errors", ()):
                if error["Code"] not in NO_KEY:
                    with self._errors.translate("delete", bucket, error.get("Key", "")):
                        raise ClientError(
                            {"Error": {"Code": error["Code"], "Message": error.get("Message", "")}},
                            "DeleteObjects",
                        )

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        with self._errors.translate("sign", bucket, key):
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_s
            )

    def sign_upload(
        self, bucket: str, key: str, *, size_bytes: int, content_type: str, expires_s: int
    ) -> str:
        """Return a URL that writes a new object of this size and type once; makes no request.

        The sender must send the headers `Content-Length`, `Content-Type` and `If-None-Match: *`,
        which are signed.
        """
        with self._errors.translate("sign", bucket, key):
            return self._client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": bucket,
                    "Key": key,
                    "ContentLength": size_bytes,
                    "ContentType": content_type,
                    "IfNoneMatch": "*",
                },
                ExpiresIn=expires_s,
            )

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""
        late = StoreUnavailable(
            f"{self._errors.service}: no answer within {_CHECK_S:g} s; check RMBG_S3_ENDPOINT, "
            "its host name and that the service is up",
            bucket=bucket,
            operation="check",
        )
        within(_CHECK_S, lambda: self._ask(bucket), late=late)

    def _ask(self, bucket: str) -> None:
        """Get an object; unlike HEAD's, the response says what is missing or denied."""
        with self._errors.translate("check", bucket):
            try:
                self._checker.get_object(Bucket=bucket, Key=_CHECK_KEY)["Body"].close()
            except ClientError as err:
                if Answer.of(err).code != "NoSuchKey":
                    raise


def bare_etag(etag: str) -> str:
    """Return *etag* without its quotes."""
    return etag.strip('"')
