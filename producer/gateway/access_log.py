"""One log line for each request, without secrets."""

import logging
import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

CUT_OFF: Final = 0
"""Status of a request whose caller left before there was an answer."""


class AccessLog:
    """Log the requests of an application when their answers have been sent.

    A line has the method, the path as it was sent, the name of the API key, the status, the bytes
    of the answer's body and the time. It has no query and no header: those hold keys, signatures
    and addresses of images.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s, status, sent_bytes = self._clock(), CUT_OFF, 0

        async def counted(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            facts = {
                "method": scope["method"],
                "path": scope["raw_path"].decode("latin-1"),
                "key": scope.get("state", {}).get("key_name", ""),
                "status": status,
                "bytes": sent_bytes,
                "ms": round(1000 * (self._clock() - start_s), 1),
            }
            logger.info("request", extra=facts)
