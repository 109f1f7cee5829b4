"""`POST /v1.0/improve` of remove.bg: images that a person is to look at."""

import re
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from producer.gateway.access import Submitter
from producer.gateway.context import Gateway, Here
from producer.gateway.fronts.removebg import SOURCES, image_in
from producer.gateway.fronts.service import bad_request, read
from producer.gateway.light import Upload
from producer.gateway.schemas import JobRequest
from producer.gateway.submission import create_job
from shared.access import ApiKey
from shared.job.thresholds import Thresholds

router: Final = APIRouter(prefix="/v1.0", include_in_schema=False)
_FOLDER: Final = "improve"
_NAMES: Final = ("image_filename", "tag")
_REVIEWED: Final = Thresholds(review_coverage_below=1)
"""Every image but one that is all subject, which is rejected, needs a person."""


@router.post("/improve")
async def improve(gateway: Here, key: Submitter, request: Request) -> Response:
    """Create a job of one image whose result needs a person, and return its ID."""
    given = await read(request, gateway.settings.max_body_bytes)
    if unknown := sorted({*given.values, *given.files} - {*SOURCES, *_NAMES}):
        raise bad_request("unknown_parameter", f"Unknown parameter {', '.join(unknown)}")
    image = await image_in(gateway, given)
    name, tag = (given.values.get(each, "").strip() for each in _NAMES)
    named = Upload(name or image.name, image.data)
    return JSONResponse({"id": await run_in_threadpool(_submitted, gateway, key, named, tag)})


def _submitted(gateway: Gateway, key: ApiKey, image: Upload, tag: str) -> str:
    source = gateway.uploads.new_key(key.tenant, image.name)
    gateway.uploads.put(source, image.data)
    group = re.sub("[^A-Za-z0-9_-]+", "-", tag).strip("-")[:100]
    folder = f"{_FOLDER}/{group}" if group else _FOLDER
    wanted = JobRequest(keys=[source], save_prefix=folder, thresholds=_REVIEWED)
    return create_job(gateway, key, wanted, None).job_id
