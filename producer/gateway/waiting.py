"""Bound how many callers wait for an image."""

from http import HTTPStatus
from typing import Final

from producer.gateway.problems import Problem

BUSY_RETRY_S: Final = 1
"""`Retry-After` when as many callers wait as may, in seconds."""


class Waiting:
    """Bounds how many callers wait at once; used from the event loop only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting = 0

    def __enter__(self) -> None:
        """Begin to wait.

        Raises:
            Problem: If as many wait as may.
        """
        if self._waiting >= self._most:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-waiting",
                f"{self._most} callers wait for an image already; try again, or send "
                "`Prefer: respond-async`",
                {"Retry-After": str(BUSY_RETRY_S)},
            )
        self._waiting += 1

    def __exit__(self, *_error: object) -> None:
        """End to wait."""
        self._waiting -= 1
