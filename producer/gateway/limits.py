"""Sizes of bodies, and headers that every response has."""

from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.gateway.problems import Problem, formatted

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every response that does not set its own."""


class BodyLimit:
    """Refuse bodies over a size, before they are read if they name it, else while they arrive."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get("content-length", "0")
        if named.isdigit() and int(named) > self._max_bytes:
            await formatted(scope, too_large(self._max_bytes))(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                problem = too_large(self._max_bytes)
                # FastAPI hides every other exception of a body behind a status of 400.
                raise HTTPException(problem.status, problem.detail, dict(problem.headers))
            return message

        await self._app(scope, counted, send)


def too_large(max_bytes: int) -> Problem:
    """Return the problem of a body over *max_bytes*."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body has over {max_bytes:,} bytes, the limit of this route",
        {"Connection": "close"},
    )


class ResponseHeaders:
    """Add the headers of safety and of the caller's quota to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if (quota := state.get("quota")) is not None:
                    headers["RateLimit-Remaining"] = str(quota.left)
                    headers["RateLimit-Reset"] = str(quota.reset_s)
            await send(message)

        await self._app(scope, receive, completed)
