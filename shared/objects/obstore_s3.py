"""An object store over obstore, for the workers' reads and writes, and boto3 for all else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final, TypeVar, Unpack

import obstore

from shared.errors import ObjectMissing, StoreError
from shared.objects.errors import ErrorTranslator
from shared.objects.obstore_clients import BucketClient, BucketClients
from shared.objects.obstore_config import Limits
from shared.objects.obstore_errors import (
    first_line,
    has_code,
    is_about_the_request,
    is_decided_by_status,
    is_redirect,
    needs_boto3,
    response_of,
)
from shared.objects.protocol import Body, ObjectInfo, OpenObject, PutOptions
from shared.objects.response import ObstoreResponse, entered
from shared.objects.s3 import S3Store, bare_etag
from shared.objects.wrapper import StoreWrapper
from shared.objects.write_conflict import without_conflict

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from obstore import PutMode

    from shared.settings import StoreSettings

T = TypeVar("T")
_NOT_METADATA: Final = frozenset(
    {
        *("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language"),
        *("Content-Type", "Storage-Class"),
    }
)
"""Attributes that obstore returns with an object's metadata."""


class ObstoreS3(StoreWrapper):
    """An `ObjectStore` that gets, heads and puts with obstore, which takes a fraction of the CPU.

    boto3 serves what obstore cannot, and is asked once more where an error of obstore does not
    say what the store answered. Both give the same results and errors.
    """

    def __init__(self, settings: StoreSettings, store: S3Store, limits: Limits) -> None:
        """Create no client yet.

        Args:
            settings: Address and credentials.
            store: A store over boto3 with the same settings, for what obstore does not serve.
            limits: Time limits and connections.
        """
        super().__init__(store)
        self._settings = settings
        self._limits = limits
        self._errors = ErrorTranslator(store.service)
        self._clients = BucketClients(settings, store.client, limits)

    @cached_property
    def _judge(self) -> S3Store:
        """Asks once more, after the attempts of obstore."""
        return S3Store(
            self._settings,
            max_connections=self._limits.max_connections,
            connect_timeout_s=self._limits.connect_timeout_s,
            read_timeout_s=self._limits.read_timeout_s,
            attempts=1,
        )

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        """See `ObjectStore.open`. The request is made here, not when the context is entered."""
        client = self._clients.of(bucket, key)
        if client is None:
            return self._store.open(bucket, key)
        return self._ask(
            _Call(client, "get", key),
            lambda: self._begin(client, key),
            lambda: entered(self._judge.open(bucket, key)),
        )

    def _begin(self, client: BucketClient, key: str) -> AbstractContextManager[OpenObject]:
        result = obstore.get(client.store, key)
        meta = result.meta
        etag = _etag(meta["e_tag"])
        return ObstoreResponse(meta["size"], etag, result, self._errors, (client.name, key))

    def get(self, bucket: str, key: str) -> Body:
        """See `ObjectStore.get`."""
        with self.open(bucket, key) as opened:
            return Body(opened.read(), opened.etag)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        client = self._clients.of(bucket, key)
        if client is None:
            return self._store.head(bucket, key)
        try:
            return self._ask(
                _Call(client, "head", key),
                lambda: _head(client, key),
                lambda: self._judge.head(bucket, key),
            )
        except ObjectMissing:
            return None

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        """See `ObjectStore.put`."""
        client = self._clients.of(bucket, key)
        if (
            client is None
            or not isinstance(data, bytes)
            or len(data) > self._limits.max_put_bytes
            or not _is_plain(options.get("metadata") or {})
            or not self._settings.conditional
        ):
            return self._store.put(bucket, key, data, **options)
        mode = _mode(options)
        call = _Call(client, "put", key, is_conditional=mode != "overwrite")
        attributes = {"Content-Type": options["content_type"], **(options.get("metadata") or {})}

        def request() -> str:
            written = obstore.put(
                client.store, key, data, attributes=attributes, mode=mode, use_multipart=False
            )
            return _etag(written["e_tag"])

        return without_conflict(
            lambda: self._ask(call, request, lambda: self._judge.put(bucket, key, data, **options))
        )

    def _ask(self, call: _Call, request: Callable[[], T], once_more: Callable[[], T]) -> T:
        """Make a request with obstore, and once more with boto3 if its error says too little."""
        try:
            result = request()
        except BaseException as err:
            if not isinstance(err, Exception) and type(err).__name__ != "PanicException":
                raise
            fault = err
        else:
            call.client.succeeded()
            return result
        response = response_of(fault, call.operation)
        if response is not None and call.is_decided(response):
            place = (call.operation, call.client.name, call.key)
            with self._errors.translate(*place, conditional=call.is_conditional):
                raise response
        try:
            result = once_more()
        except StoreError as err:
            if response is not None and err.code == response.response["Error"]["Code"]:
                call.client.is_confirmed = True
            raise
        lasts = is_redirect(fault) if response is None else is_about_the_request(response)
        self._clients.failed(call.client, first_line(fault), for_good=lasts)
        return result


@dataclass(frozen=True)
class _Call:
    """A request, for its errors."""

    client: BucketClient
    operation: str
    key: str
    is_conditional: bool = False

    def is_decided(self, response: ClientError) -> bool:
        """Return whether *response* is the store's answer, so that boto3 need not be asked."""
        if needs_boto3(response):
            return False
        if not self.client.is_confirmed and is_about_the_request(response):
            return False
        return has_code(response) or (self.operation == "head" and is_decided_by_status(response))


def _head(client: BucketClient, key: str) -> ObjectInfo:
    found = obstore.get(client.store, key, options={"head": True})
    meta = found.meta
    return ObjectInfo(
        key=key,
        size_bytes=meta["size"],
        etag=_etag(meta["e_tag"]),
        modified_at=meta["last_modified"].astimezone(UTC),
        metadata={
            name.lower(): value
            for name, value in found.attributes.items()
            if name not in _NOT_METADATA
        },
    )


def _etag(quoted: str | None) -> str:
    if quoted is None:
        raise ValueError("the response has no ETag")
    return bare_etag(quoted)


def _mode(options: PutOptions) -> PutMode:
    if options.get("if_absent"):
        return "create"
    etag = options.get("if_match")
    return "overwrite" if etag is None else {"e_tag": f'"{etag}"'}


def _is_plain(metadata: Mapping[str, str]) -> bool:
    """Return whether obstore sends *metadata* as boto3 does."""
    return all(
        name.title() not in _NOT_METADATA
        and value.isascii()
        and value.isprintable()
        and value.strip() == value
        for name, value in metadata.items()
    )
