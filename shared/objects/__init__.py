"""The object store: its interface, and its implementation on S3; only this package uses boto3."""

from shared.objects.protocol import (
    Body,
    ObjectInfo,
    ObjectStore,
    OpenObject,
    PreconditionFailed,
    PutOptions,
)
from shared.objects.s3 import S3Store
from shared.objects.wrapper import StoreWrapper

__all__ = [
    "Body",
    "ObjectInfo",
    "ObjectStore",
    "OpenObject",
    "PreconditionFailed",
    "PutOptions",
    "S3Store",
    "StoreWrapper",
]
