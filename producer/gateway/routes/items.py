"""`/v1/jobs/{id}/items/{index}`: one image of a job and its files."""

from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse, RedirectResponse
from starlette.background import BackgroundTask

from producer.gateway import reviews
from producer.gateway.access import Reader, Reviewer
from producer.gateway.context import Here
from producer.gateway.files import LINK_S, downloaded, find, record_of
from producer.gateway.review_schemas import ItemView, ReviewProblem, ReviewRequest, ReviewView
from producer.gateway.routes.jobs import JobId
from producer.gateway.tenancy import own_spec
from producer.results.reviews import ReviewConflict

router: Final = APIRouter(prefix="/v1/jobs/{job_id}/items/{index}", tags=["items"])
Index: TypeAlias = Annotated[int, Path(ge=0, le=2**31, description="Index of the image")]
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@router.get("", operation_id="getItem")
def item(gateway: Here, key: Reader, job_id: JobId, index: Index) -> ItemView:
    """Return the record of an image that has ended, its files, and the decision about it."""
    spec = own_spec(gateway.services, key, job_id)
    return reviews.view(gateway.services, spec, job_id, index)


@router.post(
    "/review",
    operation_id="reviewItem",
    response_model=ReviewView,
    responses={
        HTTPStatus.CONFLICT: {
            "model": ReviewProblem,
            "description": "Another decision stands, or the image has been replaced",
        }
    },
)
def review(
    gateway: Here, key: Reviewer, job_id: JobId, index: Index, wanted: ReviewRequest
) -> ReviewView | Response:
    """Decide about an image; the decision is durable when this answers.

    The first decision needs no `if_match`; a later one names the `etag` of the review that it
    follows. Otherwise the answer is 409 and shows the decision that stands. `redo` starts a job of
    one image, `child`, whose outputs replace these.
    """
    spec = own_spec(gateway.services, key, job_id)
    try:
        return reviews.decide(gateway, key, spec, (job_id, index), wanted)
    except ReviewConflict as err:
        return reviews.conflict(err)


@router.get(
    "/files/{name}",
    operation_id="getFile",
    response_class=Response,
    responses={
        HTTPStatus.OK: {"description": "The file", "content": {"*/*": _BINARY}},
        HTTPStatus.PARTIAL_CONTENT: {"description": "A part of it", "content": {"*/*": _BINARY}},
        HTTPStatus.FOUND: {"description": "Read it at `Location`, within an hour"},
    },
)
def file(
    *,
    gateway: Here,
    key: Reader,
    job_id: JobId,
    index: Index,
    name: Annotated[str, Path(max_length=64, description="An output, `source` or `preview`")],
    width: Annotated[int, Query(ge=0, le=100_000, description="Of an output of several")] = 0,
) -> Response:
    """Return a file of an image, or where to read it."""
    services = gateway.services
    spec = own_spec(services, key, job_id)
    found = find(spec, job_id, record_of(services, job_id, index), name, width)
    if services.public is not None:
        link = services.public.sign(found.bucket, found.key, expires_s=LINK_S)
        return RedirectResponse(link, HTTPStatus.FOUND)
    path, forget = downloaded(services, found)
    return FileResponse(
        path,
        media_type=found.media_type,
        filename=found.name,
        content_disposition_type="inline",
        headers={"Content-Security-Policy": "sandbox"},
        background=BackgroundTask(forget),
    )
