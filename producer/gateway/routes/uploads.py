"""`/v1/uploads`: images that callers upload before they submit them."""

import base64
import binascii
import re
import tempfile
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import IO, Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool

from producer.gateway.access import Submitter
from producer.gateway.context import Gateway, Here
from producer.gateway.file_schemas import Upload, UploadFile, UploadRequest, Uploads
from producer.gateway.problems import Problem, not_found
from producer.gateway.uploads import MEDIA_TYPE
from shared.access import ApiKey
from shared.job.upload_keys import folder_of
from shared.objects import PreconditionFailed

router: Final = APIRouter(prefix="/v1/uploads", tags=["uploads"])
EXPIRES_S: Final = 15 * 60
"""How long a signed upload is valid, in seconds."""
_PATH: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
)
"""Date, nonce and safe name; see `shared.job.upload_keys`."""
_SPOOL_BYTES: Final = 2**20


@router.post("", operation_id="createUploads", status_code=HTTPStatus.CREATED)
def create(gateway: Here, key: Submitter, wanted: UploadRequest) -> Uploads:
    """Name the objects for files, and where to send each with `PUT`.

    The keys are those of the job. Files are kept for 7 days.
    """
    return Uploads(uploads=[_upload(gateway, key, each) for each in wanted.files])


@router.put(
    "/{upload_id}",
    operation_id="putUpload",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def put(
    gateway: Here,
    key: Submitter,
    request: Request,
    upload_id: Annotated[str, Path(max_length=500)],
) -> None:
    """Write one file, once, on the day of its ID or the day after."""
    path = path_of(upload_id)
    if not _is_new(path):  # nothing would delete it
        raise not_found("this upload")
    object_key = folder_of(key.tenant) + path
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as body:
        async for piece in request.stream():
            await run_in_threadpool(body.write, piece)
        body.seek(0)
        await run_in_threadpool(_write, gateway, object_key, body)


def _write(gateway: Gateway, key: str, body: IO[bytes]) -> None:
    try:
        gateway.services.objects.put(
            gateway.upload_bucket,
            key,
            body,
            content_type=MEDIA_TYPE,
            if_absent=True,
        )
    except PreconditionFailed as err:
        detail = "this file has been uploaded already; create another upload for other bytes"
        raise Problem(HTTPStatus.CONFLICT, "upload-exists", detail) from err


def _upload(gateway: Gateway, key: ApiKey, file: UploadFile) -> Upload:
    object_key = gateway.uploads.new_key(key.tenant, file.name)
    headers = {"Content-Length": str(file.bytes), "Content-Type": file.type}
    if (public := gateway.services.public) is None:
        path = object_key.removeprefix(folder_of(key.tenant))
        return Upload(key=object_key, url=f"/v1/uploads/{id_of(path)}", headers=headers)
    url = public.sign_upload(
        gateway.upload_bucket,
        object_key,
        size_bytes=file.bytes,
        content_type=file.type,
        expires_s=EXPIRES_S,
    )
    return Upload(key=object_key, url=url, headers=headers | {"If-None-Match": "*"})


def _is_new(path: str) -> bool:
    """Return whether *path* is of today or of yesterday."""
    today = datetime.now(UTC).date()
    days = (today, today - timedelta(days=1))
    return path.partition("/")[0] in {each.isoformat() for each in days}


def id_of(path: str) -> str:
    """Return the ID of the upload at *path* below the tenant's folder."""
    return base64.urlsafe_b64encode(path.encode()).decode().rstrip("=")


def path_of(upload_id: str) -> str:
    """Return the path that an ID stands for: date, nonce and name, as `Uploads` chose them.

    Raises:
        Problem: If it is no such ID.
    """
    try:
        padded = upload_id + "=" * (-len(upload_id) % 4)
        path = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as err:
        raise not_found("this upload") from err
    if not _PATH.fullmatch(path):
        raise not_found("this upload")
    return path
