"""The object store: what is asked of it, and how S3 does it; the only room that knows boto3."""

from shared.objects.protocol import (
    Body,
    ObjectInfo,
    ObjectStore,
    PreconditionFailed,
    PutOptions,
)
from shared.objects.s3 import S3Store
from shared.objects.wrapper import PassingStore

__all__ = [
    "Body",
    "ObjectInfo",
    "ObjectStore",
    "PassingStore",
    "PreconditionFailed",
    "PutOptions",
    "S3Store",
]
