"""Send a Content-MD5 header to stores that ask for one."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ASKED: Final = re.compile(r"content-md5|x-amz-checksum|checksum header", re.IGNORECASE)
_OPERATIONS: Final = ("PutObject", "DeleteObjects")
_PIECE_BYTES: Final = 1 << 20


class ContentMd5:
    """Adds Content-MD5 to writes once the store has refused one without it.

    Amazon's S3 wants it for objects with a retention period, and older S3-compatible stores want
    it for every DeleteObjects request.
    """

    def __init__(self) -> None:
        self._is_wanted = False

    def register(self, client: S3Client) -> None:
        """Have *client* call this before its writes, and after those that were refused."""
        for operation in _OPERATIONS:
            client.meta.events.register(f"before-call.s3.{operation}", self._before_call)
            # botocore's stubs do not know that this event takes a delay as the answer.
            retry: Any = self._needs_retry
            client.meta.events.register(f"needs-retry.s3.{operation}", retry)

    def _before_call(self, params: dict[str, Any], **_: object) -> None:
        if self._is_wanted:
            _add_md5(params)

    def _needs_retry(
        self,
        response: tuple[object, dict[str, Any]] | None,
        request_dict: dict[str, Any],
        **_: object,
    ) -> float | None:
        """Return 0 to send the request again at once, with the header; None to leave it."""
        error = response[1].get("Error", {}) if response else {}
        if not asks_for_digest(error) or "Content-MD5" in request_dict["headers"]:
            return None
        self._is_wanted = True
        if not isinstance(request_dict["body"], bytes | bytearray):
            request_dict["body"].seek(0)  # as botocore does before it sends a request again
        _add_md5(request_dict)
        return 0


def asks_for_digest(error: Mapping[str, Any]) -> bool:
    """Return whether *error*, of a response as boto3 reads it, asks for a digest of the body."""
    return error.get("Code") == "MissingContentMD5" or bool(_ASKED.search(error.get("Message", "")))


def _add_md5(request: dict[str, Any]) -> None:
    request["headers"]["Content-MD5"] = base64.b64encode(_md5(request["body"])).decode()


def _md5(body: bytes | IO[bytes]) -> bytes:
    """Return the digest of *body*, from a file's present position, which does not change."""
    digest = hashlib.md5(usedforsecurity=False)
    if isinstance(body, bytes | bytearray):
        digest.update(body)
        return digest.digest()
    start = body.tell()
    while piece := body.read(_PIECE_BYTES):
        digest.update(piece)
    body.seek(start)
    return digest.digest()
