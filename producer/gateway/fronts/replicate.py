"""The API of Replicate: predictions and files below `/compat/replicate/v1`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.concurrency import run_in_threadpool

from producer.gateway.access import Submitter
from producer.gateway.bodies import fetched
from producer.gateway.context import Gateway, Here
from producer.gateway.fronts.later import Progress, address_of, begin, progress
from producer.gateway.fronts.replicate_documents import Prediction, document, status_of
from producer.gateway.fronts.replicate_inputs import translate
from producer.gateway.fronts.replicate_webhooks import awaited, told
from producer.gateway.fronts.service import decoded, read
from producer.gateway.light import Upload, prepare
from producer.gateway.problems import invalid
from producer.gateway.routes.uploads import id_of, path_of
from producer.gateway.uploads import MEDIA_TYPE
from producer.gateway.webhooks.awaited import Awaited
from shared.access import ApiKey
from shared.job.upload_keys import folder_of
from shared.jobstore.light import LightResult
from shared.models import registry

PREFIX: Final = "/compat/replicate"
MOST_WAIT_S: Final = 60
router: Final = APIRouter(prefix=f"{PREFIX}/v1", include_in_schema=False)
_WAIT: Final = re.compile(r"\bwait(?:=([0-9]{1,3}))?\b")
_Prefer = Annotated[str | None, Header()]


class PredictionRequest(BaseModel):
    """What to predict. Streams are refused, as they are not possible here."""

    model_config = ConfigDict(extra="forbid")

    input: dict[str, Any] = {}
    version: str = ""
    stream: bool | None = None
    webhook: Annotated[str, Field(max_length=2048)] | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None
    """Must hold `completed`: the other events do not exist here."""

    @field_validator("webhook_events_filter")
    @classmethod
    def _has_completed(cls, events: list[str] | None) -> list[str] | None:
        if events is not None and "completed" not in events:
            raise ValueError("webhook_events_filter must hold completed, the only event here")
        return events


@router.post("/predictions")
async def predict(
    *,
    gateway: Here,
    key: Submitter,
    request: Request,
    wanted: PredictionRequest,
    prefer: _Prefer = None,
) -> Response:
    """Process an image with a version of a model, which may be `owner/name:version`."""
    model, _, version = wanted.version.rpartition(":")
    named = (model or "rmbg/queue", version or "1")
    return await _predicted(
        gateway=gateway, key=key, request=request, wanted=wanted, named=named, prefer=prefer
    )


@router.post("/models/{owner}/{name}/predictions")
async def predict_with(
    *,
    gateway: Here,
    key: Submitter,
    request: Request,
    owner: str,
    name: str,
    wanted: PredictionRequest,
    prefer: _Prefer = None,
) -> Response:
    """Process an image with a model."""
    named = (f"{owner}/{name}", "1")
    return await _predicted(
        gateway=gateway, key=key, request=request, wanted=wanted, named=named, prefer=prefer
    )


@router.get("/predictions/{prediction_id}")
async def prediction(
    gateway: Here, key: Submitter, request: Request, prediction_id: str
) -> Response:
    """Return how far a prediction is."""
    named = Prediction.of(prediction_id)
    found = await run_in_threadpool(progress, gateway, key, named.job_id)
    return JSONResponse(await _document(gateway, request, found, named))


@router.post("/predictions/{prediction_id}/cancel")
async def cancel(gateway: Here, key: Submitter, request: Request, prediction_id: str) -> Response:
    """Cancel a prediction."""
    named = Prediction.of(prediction_id)
    await run_in_threadpool(progress, gateway, key, named.job_id)  # it is the caller's
    await run_in_threadpool(gateway.services.cancel, named.job_id)
    found = await run_in_threadpool(progress, gateway, key, named.job_id)
    return JSONResponse(await _document(gateway, request, found, named))


@router.get("/models/{owner}/{name}/versions/{version}")
def version_of(_key: Submitter, owner: str, name: str, version: str) -> Response:
    """Describe a version of a model."""
    output = {"type": "string", "format": "uri", "title": f"{owner}/{name}"}
    schema = {"components": {"schemas": {"Output": output}}}
    created = "2026-01-01T00:00:00Z"
    body = {"id": version, "created_at": created, "cog_version": "0", "openapi_schema": schema}
    return JSONResponse(body)


@router.get("/webhooks/default/secret")
def webhook_secret(gateway: Here, key: Submitter) -> Response:
    """Return the secret that verifies webhooks."""
    return JSONResponse({"key": gateway.webhooks.secret_of(key.tenant)})


@router.post("/files")
async def upload(gateway: Here, key: Submitter, request: Request) -> Response:
    """Store a file that a prediction names as its input."""
    given = await read(request, gateway.settings.max_body_bytes)
    if "content" not in given.files:
        raise invalid("the form has no file; call its part content")
    file = given.files["content"]
    object_key = await run_in_threadpool(gateway.uploads.new_key, key.tenant, file.name)
    await run_in_threadpool(gateway.uploads.put, object_key, file.data)
    file_id = id_of(object_key.removeprefix(folder_of(key.tenant)))
    body = {
        "id": file_id,
        "name": file.name,
        "content_type": MEDIA_TYPE,
        "size": len(file.data),
        "etag": "",
        "checksums": {},
        "metadata": {},
        "created_at": datetime.now(UTC).isoformat(),
        "expires_at": None,
        "urls": {"get": f"{_address(request)}/files/{file_id}"},
    }
    return JSONResponse(body, HTTPStatus.CREATED)


async def _predicted(
    *,
    gateway: Gateway,
    key: ApiKey,
    request: Request,
    wanted: PredictionRequest,
    named: tuple[str, str],
    prefer: str | None,
) -> Response:
    if wanted.stream:
        raise invalid("stream is not possible: the output is one image")
    if wanted.webhook is not None:
        gateway.webhooks.check(key.tenant, wanted.webhook)
    values = dict(wanted.input)
    source = values.pop("image", None)
    if not isinstance(source, str):
        raise invalid("input.image is missing: give a URL, a data URL or a file")
    asked = translate(values, _model(named[0]))
    job = prepare(gateway, key, asked)
    image = await _image(gateway, key, request, source)
    found = _WAIT.search(prefer or "")
    most_s = min(MOST_WAIT_S, gateway.settings.wait_s)
    wait_s = min(most_s, int(found[1] or MOST_WAIT_S)) if found else 0
    prediction = Prediction(job.job_id, *named)
    webhook = _webhook(wanted, key, request, prediction)
    async with told(gateway.webhooks.awaited, webhook):
        begun = await begin(gateway, key, job, image, wait_s)
    body = await _document(gateway, request, begun, prediction)
    return JSONResponse(body, HTTPStatus.CREATED)


def _webhook(
    wanted: PredictionRequest, key: ApiKey, request: Request, prediction: Prediction
) -> Awaited | None:
    if wanted.webhook is None:
        return None
    return awaited(key.tenant, wanted.webhook, _address(request), prediction)


def _model(named: str) -> str | None:
    """Return our model of this name; None, for the gateway's, if there is none."""
    name = named.rpartition("/")[2]
    return name if name in registry.REGISTRY else None


async def _image(gateway: Gateway, key: ApiKey, request: Request, source: str) -> Upload:
    if source.startswith("data:"):
        try:
            return Upload("image", decoded(source))
        except ValueError as err:
            raise invalid("input.image is not base64") from err
    files = f"{_address(request)}/files/"
    if not source.startswith(files):
        return await fetched(gateway.fetcher, source)
    path = path_of(source.removeprefix(files))
    read_object = gateway.services.objects.get
    found = await run_in_threadpool(
        read_object, gateway.upload_bucket, folder_of(key.tenant) + path
    )
    return Upload(path.rpartition("/")[2], found.data)


async def _document(
    gateway: Gateway, request: Request, found: Progress, prediction: Prediction
) -> Mapping[str, Any]:
    status = await run_in_threadpool(gateway.services.jobs.queries.status, prediction.job_id)
    is_done = found.record is not None and found.error is None
    result = LightResult(found.state, () if found.record is None else (found.record,))
    return document(
        prediction,
        _address(request),
        status=status_of(result),
        output=await run_in_threadpool(address_of, gateway, found) if is_done else None,
        error=found.error,
        created_at=status.created_at,
        finished_at=status.finished_at,
    )


def _address(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{PREFIX}/v1"
