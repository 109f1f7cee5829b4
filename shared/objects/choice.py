"""Choose the client of a worker's object store."""

import logging
from typing import Literal, TypeAlias

from shared.objects.obstore_config import Limits, why_boto3
from shared.objects.protocol import ObjectStore
from shared.objects.s3 import S3Store
from shared.settings import StoreSettings

logger = logging.getLogger(__name__)

Client: TypeAlias = Literal["obstore", "boto3"]


def make_worker_store(
    settings: StoreSettings, *, client: Client, max_connections: int, max_bytes: int
) -> ObjectStore:
    """Return a store over obstore if it is wanted and can serve *settings*, else over boto3.

    Args:
        settings: Address and credentials.
        client: The wanted client; boto3 still serves what obstore cannot.
        max_connections: Connections kept open; at least the threads that use the store.
        max_bytes: Largest object that is read, in bytes.

    Raises:
        StoreUnavailable: If boto3's own configuration is used and cannot be read.
    """
    store = S3Store(settings, max_connections=max_connections)
    reason = "RMBG_OBJECTS is boto3" if client == "boto3" else why_boto3(settings, store.client)
    if reason is not None:
        logger.info("boto3 serves all buckets: %s", reason)
        return store
    from shared.objects.obstore_s3 import ObstoreS3  # noqa: PLC0415 - an optional package

    limits = Limits(max_bytes=max_bytes, max_connections=max_connections)
    return ObstoreS3(settings, store, limits)
