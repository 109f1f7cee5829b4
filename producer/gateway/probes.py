"""Serve `/healthz`, `/readyz` and `/metrics` on a port of their own, without a key."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.services import Services
from shared.errors import RmbgError

_OTHER: Final = "other"
"""Label of a route that does not exist, so that callers cannot create labels."""


class Metrics:
    """Requests of a gateway, as Prometheus counts them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "rmbg_gateway_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "rmbg_gateway_request_seconds",
            "Time to the start of the response.",
            ("route",),
            registry=self.registry,
        )

    def observe(self, scope: Scope, status: int, took_s: float) -> None:
        """Count one request."""
        route = getattr(scope.get("route"), "path", _OTHER)
        self._requests.labels(route, scope["method"], str(status)).inc()
        self._seconds.labels(route).observe(took_s)


class Measured:
    """Count the requests of an application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s = self._clock()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.observe(scope, message["status"], self._clock() - start_s)
            await send(message)

        await self._app(scope, receive, observed)


def _ping(services: Services) -> None:
    services.jobs.ping()


def probes(services: Services, metrics: Metrics) -> Starlette:
    """Return the application of the probes."""

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        try:
            await run_in_threadpool(_ping, services)
        except RmbgError as err:
            return PlainTextResponse(f"{err}\n", 503)
        return PlainTextResponse("ok\n")

    async def exposed(_request: Request) -> Response:
        body = await run_in_threadpool(generate_latest, metrics.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    routes = {"/healthz": healthy, "/readyz": ready, "/metrics": exposed}
    return Starlette(routes=[Route(path, answer) for path, answer in routes.items()])
