"""Errors as problem documents (RFC 9457): a stable type, and what to do."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Scope

from shared import errors, incident

logger = logging.getLogger(__name__)

TYPE_PREFIX: Final = "urn:rmbg-queue:problem:"
CONTENT_TYPE: Final = "application/problem+json"
RETRY_S: Final = 5
"""`Retry-After` of a service that is unavailable, in seconds."""
RETRY_OPEN_S: Final = 60
"""`Retry-After` of a tenant that has as many open images as it may have, in seconds."""
_UNAVAILABLE: Final = "Redis or the object store is unavailable; try again later"


class ProblemDocument(BaseModel):
    """A problem as the response shows it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[str] | None = None
    """The problems of a body, if it has several."""


@dataclass
class Problem(Exception):
    """A request that cannot be served."""

    status: HTTPStatus
    name: str
    """Last part of the type, which stays the same in later versions."""
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: list[str] | None = None

    def document(self) -> ProblemDocument:
        """Return the document."""
        return ProblemDocument(
            type=f"{TYPE_PREFIX}{self.name}",
            title=self.name.replace("-", " ").capitalize(),
            status=self.status,
            detail=self.detail,
            errors=self.errors,
        )

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(
            self.document().model_dump(exclude_none=True),
            self.status,
            dict(self.headers),
            media_type=CONTENT_TYPE,
        )


ErrorFormat: TypeAlias = Callable[[Problem], Response]
"""Returns the response of a problem."""


def not_found(what: str) -> Problem:
    """Return the problem of something that is not there, or not the caller's."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"{what} does not exist")


def invalid(detail: str, found: list[str] | None = None) -> Problem:
    """Return the problem of a request that is not valid."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=found)


def problem_of(err: errors.RmbgError) -> Problem:
    """Return the problem that an error of the product is for a caller.

    Addresses of services stay in the log.
    """
    text = str(err)
    match err:
        case errors.UnknownJob():
            problem = not_found("this job")
        case errors.JobNotDone():
            problem = Problem(HTTPStatus.CONFLICT, "job-not-done", text)
        case errors.JobConflict():
            problem = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", text)
        case errors.TooManyOpen():
            wait = {"Retry-After": str(RETRY_OPEN_S)}
            problem = Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-images", text, wait)
        case errors.ServiceUnavailable() | errors.ServiceUnfit():
            logger.error("a service is unavailable", extra={"cause": text})
            wait = {"Retry-After": str(RETRY_S)}
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", _UNAVAILABLE, wait)
        case errors.ConfigError() | errors.ItemError():
            first, *rest = text.splitlines()
            problem = invalid(first, rest or None)
        case _:
            problem = unforeseen(err)
    return problem


def formatted(scope: Scope, problem: Problem) -> Response:
    """Return the response of a problem, in the format that clients of this path read."""
    formats: Mapping[str, ErrorFormat] = scope["app"].state.error_formats
    for prefix, format_ in formats.items():
        if scope["path"].startswith(prefix):
            return format_(problem)
    return problem.response()


def install(app: FastAPI, formats: Mapping[str, ErrorFormat]) -> None:
    """Answer every error of *app* with a problem document.

    Args:
        app: The application.
        formats: Other formats, by the beginning of the paths that have them.
    """
    app.state.error_formats = formats
    for kind, answer in _HANDLERS.items():
        app.add_exception_handler(kind, answer)


def unforeseen(err: Exception) -> Problem:
    """Return the problem of an error that nobody expects; its traceback is in the log."""
    logger.error("a request failed", extra={"cause": incident.record(err)})
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal-error",
        "the gateway failed on this request; its log names the incident",
    )


def _rejected(err: RequestValidationError) -> Problem:
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors()]
    return invalid("the request is not valid", found)


def _http(err: HTTPException) -> Problem:
    status = HTTPStatus(err.status_code)
    name = _NAMES.get(status, status.phrase.lower().replace(" ", "-"))
    return Problem(status, name, str(err.detail), err.headers or {})


_NAMES: Final = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large"}
"""Names of problems whose HTTP phrase differs between versions of Python."""
Handler = Callable[[Request, Any], Awaitable[Response]]


def _handler(to_problem: Callable[[Any], Problem]) -> Handler:
    async def answer(request: Request, err: Any) -> Response:  # noqa: ANN401 - Starlette's signature
        return formatted(request.scope, to_problem(err))

    return answer


_HANDLERS: Final[Mapping[type[Exception], Handler]] = {
    Problem: _handler(lambda problem: problem),
    errors.RmbgError: _handler(problem_of),
    RequestValidationError: _handler(_rejected),
    HTTPException: _handler(_http),
    Exception: _handler(unforeseen),
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ProblemDocument, "description": "A problem"},
    "5XX": {"model": ProblemDocument, "description": "A problem"},
}
"""What OpenAPI says about the errors of every route."""
