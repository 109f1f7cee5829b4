"""What the OpenAPI document says beyond the types of the routes."""

from collections.abc import Iterable
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from producer.gateway.problems import CONTENT_TYPE

JSON: Final = "application/json"
ERRORS: Final = "45"
"""First digits of the statuses of errors."""
JOB_FOLLOWERS: Final = (
    *("getJob", "listRecords", "getItem", "reviewItem", "getFile", "getArchive"),
    *("listenToJob", "cancelJob", "retryJob", "listWebhooks"),
)
"""Operations that take the ID of a job."""


def job_links(where: str) -> dict[str, Any]:
    """Return the links to what may follow on a job.

    Args:
        where: Expression of the ID in the answer, as `$response.body#/job_id`.
    """
    return {
        operation: {"operationId": operation, "parameters": {"job_id": where}}
        for operation in JOB_FOLLOWERS
    }


def one_of(**types: str) -> dict[str, Any]:
    """Return the rule that exactly one of the fields is given, each with its type.

    >>> one_of(url="string")
    {'oneOf': [{'required': ['url'], 'properties': {'url': {'type': 'string'}}}]}
    """
    return {
        "oneOf": [
            {"required": [name], "properties": {name: {"type": type_}}}
            for name, type_ in types.items()
        ]
    }


def describe(app: FastAPI) -> None:
    """Make the document of *app* say that errors are problem documents and nothing else.

    FastAPI describes a model under `application/json` whatever the type of the response.
    """
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status[0] in ERRORS:
                    answer["content"][CONTENT_TYPE] = answer["content"].pop(JSON)


def methods_of(routers: Iterable[APIRouter], path: str) -> str:
    """Return what `Allow` says about *path*: the methods of all its routes."""
    routes = (route for router in routers for route in router.routes)
    found = {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return ", ".join(sorted(found))
