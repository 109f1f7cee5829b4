"""Build the application of the gateway."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

import anyio.to_thread
from fastapi import FastAPI, Request, Response

from producer.gateway import openapi, problems
from producer.gateway.access_log import AccessLog
from producer.gateway.context import Gateway
from producer.gateway.fronts import bria, rembg, removebg, removebg_improve, replicate
from producer.gateway.limits import BodyLimit, ResponseHeaders
from producer.gateway.probes import Measured, Metrics
from producer.gateway.routes import (
    archive,
    catalogue,
    events,
    images,
    items,
    jobs,
    results,
    reviews,
    submissions,
    uploads,
    webhooks,
)

_ROUTERS: Final = (
    jobs.router,
    submissions.router,
    results.router,
    events.router,
    archive.router,
    items.router,
    reviews.router,
    images.router,
    uploads.router,
    webhooks.router,
    catalogue.router,
    removebg.router,
    removebg_improve.router,
    rembg.router,
    replicate.router,
    bria.router,
)
_FORMATS: Final = {
    removebg.PREFIX: removebg.error_format,
    rembg.PREFIX: rembg.error_format,
    bria.PREFIX: bria.error_format,
}
"""Formats of errors by the beginning of paths; all others are problem documents."""
_ABOUT: Final = """Background removal for whole catalogues.

Send `Authorization: Bearer KEY` with a key of `rmbg keys create`. Errors are problem documents
(RFC 9457).
"""


def build_app(gateway: Gateway, metrics: Metrics) -> FastAPI:
    """Return the application that serves *gateway* and counts into *metrics*."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = gateway.settings.threads
        gateway.endings.start()
        gateway.accepting.start()
        gateway.housekeeping.start()
        running = [gateway.streams.run(), gateway.webhooks.run()]
        tasks = [asyncio.create_task(each) for each in running]
        yield
        for task in tasks:
            task.cancel()
        gateway.housekeeping.close()
        gateway.accepting.close()
        gateway.endings.close()

    app = FastAPI(
        title="rmbg-queue",
        version=version("rmbg-queue"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,  # pages that load scripts from other hosts
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    app.state.gateway = gateway
    problems.install(app, _FORMATS)
    for router in _ROUTERS:
        app.include_router(router)
    openapi.describe(app)
    app.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, _not_allowed)
    app.add_middleware(BodyLimit, max_bytes=gateway.settings.max_body_bytes)
    app.add_middleware(ResponseHeaders)
    app.add_middleware(Measured, metrics=metrics, clock=time.monotonic)
    app.add_middleware(AccessLog)
    return app


async def _not_allowed(request: Request, _error: Exception) -> Response:
    """Answer a method that a path does not have; Starlette would name one route's methods only."""
    allowed = openapi.methods_of(_ROUTERS, request.url.path)
    detail = f"{request.method} is not possible here; methods: {allowed}"
    problem = problems.Problem(
        HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, {"Allow": allowed}
    )
    return problems.formatted(request.scope, problem)
