"""`/v1/images/remove`: process one image and answer with the picture."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from producer.gateway.access import Submitter
from producer.gateway.bodies import BODY, read_image
from producer.gateway.context import Here
from producer.gateway.light import Picture, picture_of, prepare, process, start
from producer.gateway.openapi import job_links
from producer.gateway.routes.jobs import IdempotencyKey
from producer.gateway.schemas import RemoveQuery
from shared.job.record import ItemRecord

router: Final = APIRouter(prefix="/v1/images", tags=["images"])
JOB: Final = "X-Rmbg-Job"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/remove",
    operation_id="removeBackground",
    openapi_extra=BODY,
    response_class=Response,
    responses={
        HTTPStatus.OK: {
            "description": "The picture; a ZIP if there are several",
            "content": {"image/*": _BINARY, "application/zip": _BINARY},
            "headers": {JOB: {"schema": {"type": "string"}, "description": "ID of the job"}},
            "links": job_links(f"$response.header.{JOB}"),
        },
        HTTPStatus.ACCEPTED: {"description": "Accepted; `Location` names the job"},
    },
)
async def remove(
    *,
    gateway: Here,
    key: Submitter,
    request: Request,
    query: Annotated[RemoveQuery, Query()],
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[str | None, Header(description="`respond-async` answers at once")] = None,
) -> Response:
    """Process one image ahead of all bulk work, and answer with the picture.

    The image is a part `file` of a form, the whole body, or at the `url` that a form or a JSON body
    names. The picture is kept for a day.
    """
    image, wanted = await read_image(request, query.as_request(), gateway.fetcher)
    job = prepare(gateway, key, wanted, idempotency_key)
    if prefer is not None and "respond-async" in prefer:
        await run_in_threadpool(start, gateway, job, image)
        return Response(status_code=HTTPStatus.ACCEPTED, headers={"Location": job.location})
    record = await process(gateway, job, image)
    picture = await run_in_threadpool(picture_of, gateway, job, record)
    return _answer(picture, record, job.job_id)


def _answer(picture: Picture, record: ItemRecord, job_id: str) -> Response:
    headers = {
        "Content-Disposition": f'inline; filename="{picture.file_name}"',
        "Content-Security-Policy": "sandbox",
        JOB: job_id,
        "X-Rmbg-Verdict": record.verdict or "",
    }
    return Response(picture.data, media_type=picture.media_type, headers=headers)
