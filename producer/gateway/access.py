"""Who calls, and what the caller may do."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from producer.gateway.context import Gateway, Here
from producer.gateway.problems import Problem
from shared.access import ApiKey, Scope, name_in

_BEARER: Final = HTTPBearer(auto_error=False, description="An API key of `rmbg keys create`.")
_HEADER: Final = APIKeyHeader(name="X-Api-Key", auto_error=False)
_Bearer: TypeAlias = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
_Header: TypeAlias = Annotated[str | None, Security(_HEADER)]


def allowed(scope: Scope) -> Callable[..., ApiKey]:
    """Return a dependency: the API key of a request, which must have *scope*.

    It counts the request. Its quota is then in `request.state.quota`, for the headers, and the name
    of the key in `request.state.key_name`, for the log.
    """

    def caller(gateway: Here, request: Request, bearer: _Bearer, header: _Header) -> ApiKey:
        """Return the API key of the request.

        Raises:
            Problem: Without a valid key (401), without the scope (403), or when the key has made
                too many requests (429).
        """
        return admit(gateway, request, bearer.credentials if bearer else header, scope)

    return caller


def admit(gateway: Gateway, request: Request, text: str | None, scope: Scope) -> ApiKey:
    """Return the API key that *text* is, and count the request.

    Raises:
        Problem: Without a valid key (401), without the scope (403), or when the key has made too
            many requests (429).
    """
    keys = gateway.services.jobs.api_keys
    name = name_in(text) if text else None
    key = keys.find(name) if name else None
    if text is None or key is None or not key.matches(text) or key.is_expired(_now()):
        raise _unauthorized(is_given=text is not None)
    request.state.key_name = key.name
    request.state.quota = quota = keys.count_request(key)
    if not quota.is_allowed:
        raise _too_many(key, quota.reset_s)
    if scope not in key.scopes:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"this API key lacks the scope {scope}; use one that has it",
        )
    return key


Reader: TypeAlias = Annotated[ApiKey, Depends(allowed(Scope.READ))]
"""Parameter of a route that only reads."""
Submitter: TypeAlias = Annotated[ApiKey, Depends(allowed(Scope.SUBMIT))]
"""Parameter of a route that starts, stops or repeats work."""
Reviewer: TypeAlias = Annotated[ApiKey, Depends(allowed(Scope.REVIEW))]
"""Parameter of a route that decides about images."""


def _now() -> datetime:
    return datetime.now(UTC)


def _unauthorized(*, is_given: bool) -> Problem:
    what = "this API key is not valid" if is_given else "an API key is missing"
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        f"{what}; send `Authorization: Bearer KEY` with a key of `rmbg keys create`",
        {"WWW-Authenticate": "Bearer"},
    )


def _too_many(key: ApiKey, reset_s: int) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        f"this API key may make {key.rate_per_minute} requests a minute; try again in {reset_s} s",
        {"Retry-After": str(reset_s)},
    )
