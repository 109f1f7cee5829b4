"""The API of Bria: `/compat/bria/v2/image/edit/remove_background` and its status."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from producer.gateway.access import admit
from producer.gateway.bodies import fetched
from producer.gateway.context import Gateway, Here
from producer.gateway.fronts.later import Progress, address_of, begin, progress
from producer.gateway.fronts.service import bad_request, decoded, read, text_of
from producer.gateway.light import Upload, prepare
from producer.gateway.problems import Problem
from producer.gateway.routes.jobs import JobId
from producer.gateway.schemas import RemoveRequest
from shared.access import ApiKey, Scope
from shared.job.options import PictureOptions
from shared.job.spec import JobState

PREFIX: Final = "/compat/bria"
SYNC_S: Final = 25.0
"""Longest wait for a picture, in seconds: the client waits for 30."""
router: Final = APIRouter(prefix=f"{PREFIX}/v2", include_in_schema=False)
_OFF: Final = ("visual_input_content_moderation", "visual_output_content_moderation")
"""Parameters that can be false only."""
_FIELDS: Final = frozenset({"image", "sync", "preserve_alpha", *_OFF})
_TRUTHS: Final = {"true": True, "false": False}


def _caller(gateway: Here, request: Request) -> ApiKey:
    return admit(gateway, request, request.headers.get("api_token"), Scope.SUBMIT)


_Key: TypeAlias = Annotated[ApiKey, Depends(_caller)]


def error_format(problem: Problem) -> Response:
    """Return a problem as Bria writes errors."""
    is_invalid = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    status = HTTPStatus.BAD_REQUEST if is_invalid else problem.status
    return JSONResponse({"error": _error(status, problem.detail)}, status, dict(problem.headers))


def _error(status: int, details: str) -> dict[str, Any]:
    return {"code": int(status), "message": HTTPStatus(status).phrase, "details": details}


@router.post("/image/edit/remove_background")
async def remove_background(gateway: Here, key: _Key, request: Request) -> Response:
    """Remove the background of an image: with `sync` at once, else ask the status for it."""
    values = dict((await read(request, gateway.settings.max_body_bytes)).values)
    if unknown := sorted(values.keys() - _FIELDS):
        raise bad_request("unknown", f"unknown parameter {', '.join(unknown)}")
    for name in _OFF:
        if _truth(values, name, default=False):
            raise bad_request("fixed", f"{name} is not possible here; leave it out")
    is_kept = _truth(values, "preserve_alpha", default=True)
    options = PictureOptions(alpha="auto" if is_kept else "ignore")
    is_sync = _truth(values, "sync", default=False)
    job = prepare(gateway, key, RemoveRequest(options=options))
    image = await _image(gateway, values.get("image", "").strip())
    wait_s = min(SYNC_S, gateway.settings.wait_s) if is_sync else 0.0
    return await _answer(gateway, request, await begin(gateway, key, job, image, wait_s))


@router.get("/status/{job_id}")
async def status(gateway: Here, key: _Key, request: Request, job_id: JobId) -> Response:
    """Return how far a picture is."""
    found = await run_in_threadpool(progress, gateway, key, job_id)
    answer = await _answer(gateway, request, found)
    answer.status_code = HTTPStatus.OK
    return answer


async def _answer(gateway: Gateway, request: Request, found: Progress) -> Response:
    job_id = found.job.job_id
    body: dict[str, Any] = {"request_id": job_id}
    if found.record is not None and found.error is None:
        url = await run_in_threadpool(address_of, gateway, found)
        return JSONResponse({**body, "status": "COMPLETED", "result": {"image_url": url}})
    if found.error is not None or found.state is JobState.CANCELLED:
        error = _error(HTTPStatus.UNPROCESSABLE_ENTITY, found.error or "the job was cancelled")
        body |= {"status": "ERROR", "error": error}
        return JSONResponse(body, HTTPStatus.UNPROCESSABLE_ENTITY)
    url = f"{str(request.base_url).rstrip('/')}{PREFIX}/v2/status/{job_id}"
    return JSONResponse({**body, "status": "IN_PROGRESS", "status_url": url}, HTTPStatus.ACCEPTED)


async def _image(gateway: Gateway, given: str) -> Upload:
    if not given:
        raise bad_request("missing", "image is missing: give a URL or base64")
    if given.startswith(("http://", "https://")):
        return await fetched(gateway.fetcher, given)
    try:
        return Upload("image", await asyncio.to_thread(decoded, given))
    except ValueError as err:
        raise bad_request("invalid", "image is neither a URL nor base64") from err


def _truth(values: dict[str, str], name: str, *, default: bool) -> bool:
    value = _TRUTHS.get(values.get(name) or text_of(default))
    if value is None:
        raise bad_request("invalid", f"{name} must be true or false")
    return value
