"""The response to a GET request, before its body is read, from either client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.objects.obstore_errors import first_line
from shared.objects.protocol import OpenObject

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from obstore import GetResult

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


@dataclass
class ObstoreResponse:
    """An object whose response has begun; a context that closes it."""

    size_bytes: int
    etag: str
    result: GetResult | None
    """None when the context was left, which closes a connection that was not read."""
    errors: ErrorTranslator
    place: tuple[str, str]
    """Bucket and key, for errors."""

    def __enter__(self) -> OpenObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.result = None

    def read(self) -> bytes:
        """See `OpenObject.read`."""
        assert self.result is not None  # noqa: S101 - the caller left the context
        try:
            return self.result.bytes().to_bytes()
        except Exception as err:  # noqa: BLE001 - a response that began and did not end
            cause = first_line(err)
        with self.errors.translate("get", *self.place):
            raise ConnectionError(cause)


def entered(context: AbstractContextManager[OpenObject]) -> AbstractContextManager[OpenObject]:
    """Enter *context*, and return one that gives the same object and leaves it."""
    stack = ExitStack()
    opened = stack.enter_context(context)

    @contextmanager
    def again() -> Iterator[OpenObject]:
        with stack:
            yield opened

    return again()
