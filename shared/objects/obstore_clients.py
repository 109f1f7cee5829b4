"""obstore's clients, one for each bucket that they can serve."""

from __future__ import annotations

import logging
import os
import re
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from obstore.store import S3Store as ObstoreStore

from shared.objects.obstore_config import (
    Limits,
    endpoint_of,
    make_credentials,
    make_options,
    read_certificates,
)
from shared.objects.obstore_errors import MARK

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings

logger = logging.getLogger(__name__)

_CHANGED_KEY: Final = re.compile(
    rf"\A/|/\Z|//|(?:\A|/)\.{{1,2}}(?:/|\Z)|[\x00-\x1f\x7f\ud800-\udfff]|{MARK}|\A\Z"
)
"""Keys that obstore would change or refuse, and those that its errors could not be told from."""
_MOST_FAILURES: Final = 3


@dataclass
class BucketClient:
    """obstore's client of one bucket, and what is known about it.

    Threads change it without a lock: a count that is lost only delays a decision.
    """

    name: str
    store: ObstoreStore
    is_confirmed: bool = False
    """Whether the store has accepted a request of this client, or refused one of boto3's alike."""
    failures: int = 0
    """Requests in a row that failed here and worked at once with boto3."""

    def succeeded(self) -> None:
        """Note a request that worked."""
        self.is_confirmed, self.failures = True, 0


class BucketClients:
    """obstore's clients by bucket. A bucket or key that they cannot serve has none."""

    def __init__(self, settings: StoreSettings, client: S3Client, limits: Limits) -> None:
        """Create no client yet: boto3's chain may ask for credentials over the network.

        Args:
            settings: Address and credentials.
            client: boto3's client for the same settings, which knows endpoint and certificates.
            limits: Time limits and connections.
        """
        self._settings = settings
        self._client = client
        self._limits = limits
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._clients: dict[str, BucketClient | None] = {}

    def of(self, bucket: str, key: str) -> BucketClient | None:
        """Return the client for an object; None if boto3 must serve it."""
        if _CHANGED_KEY.search(key) or os.getpid() != self._pid:
            return None  # after a fork, obstore's threads are missing and its calls never return
        try:
            return self._clients[bucket]
        except KeyError:
            with self._lock:
                if bucket not in self._clients:
                    self._clients[bucket] = self._make(bucket)
                return self._clients[bucket]

    def failed(self, client: BucketClient, why: str, *, for_good: bool) -> None:
        """Note a request that worked with boto3 only; repeated, it moves the bucket to boto3."""
        client.failures += 1
        if for_good or client.failures >= _MOST_FAILURES:
            self._clients[client.name] = None
            _log(client.name, why)

    def _make(self, bucket: str) -> BucketClient | None:
        endpoint = endpoint_of(self._settings, self._client, bucket)
        if endpoint is None:
            _log(bucket, "obstore cannot address this bucket as boto3 does")
            return None
        options = make_options(self._settings, endpoint, self._limits, self._certificates)
        try:
            store = ObstoreStore(bucket, credential_provider=self._credentials, **options)
        except Exception as err:  # noqa: BLE001 - whatever it is, boto3 then says what is wrong
            _log(bucket, f"obstore cannot be configured ({err})".partition("\n")[0])
            return None
        return BucketClient(bucket, store)

    @cached_property
    def _certificates(self) -> bytes | None:
        return read_certificates(self._client)

    @cached_property
    def _credentials(self) -> Any:  # noqa: ANN401 - see `make_credentials`
        return make_credentials(self._settings)


def _log(bucket: str, why: str) -> None:
    logger.info("boto3 serves bucket %s: %s", bucket, why)
