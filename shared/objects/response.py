"""The response to a GET request of S3, before its body is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.response import StreamingBody

    from shared.objects.errors import ErrorTranslator


@dataclass
class Response:
    """See `OpenObject`."""

    size_bytes: int
    etag: str
    body: StreamingBody
    errors: ErrorTranslator
    place: tuple[str, str]
    """Bucket and key, for errors."""

    def read(self) -> bytes:
        """See `OpenObject.read`."""
        with self.errors.translate("get", *self.place):
            return self.body.read()
