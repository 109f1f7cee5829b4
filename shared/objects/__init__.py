"""The object store: its interface, and its implementation on S3; only this package uses boto3."""

from typing import TYPE_CHECKING

from shared.objects.protocol import (
    Body,
    ObjectInfo,
    ObjectStore,
    OpenObject,
    PreconditionFailed,
    PutOptions,
)
from shared.objects.wrapper import StoreWrapper

if TYPE_CHECKING:
    from shared.objects.s3 import S3Store

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


def __getattr__(name: str) -> object:
    """Import `S3Store` when it is used: boto3 takes 0.2 s, and `rmbg remove` needs no bucket."""
    if name == "S3Store":
        from shared.objects.s3 import S3Store  # noqa: PLC0415 - see above

        return S3Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
