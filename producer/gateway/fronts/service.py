"""What all fronts share: make one picture of one image, and read parameters."""

import base64
import binascii
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from producer.gateway.context import Gateway
from producer.gateway.light import LightJob, Picture, Upload, picture_of, prepare, process
from producer.gateway.problems import Problem
from producer.gateway.schemas import RemoveRequest
from shared.access import ApiKey
from shared.job.record import ItemRecord

_JSON: Final = "application/json"
_MASK: Final = "alpha.png"
"""Name of the mask in the ZIP of an output."""


@dataclass(frozen=True)
class Given:
    """The parameters of a request and its files."""

    values: Mapping[str, str]
    files: Mapping[str, Upload]


@dataclass(frozen=True)
class Made:
    """A finished picture."""

    job: LightJob
    record: ItemRecord
    picture: Picture


async def read(request: Request, max_bytes: int) -> Given:
    """Return what is in the body of a request: a form, or a JSON object.

    Args:
        request: The request.
        max_bytes: Largest field: images may be fields, in base64.

    Raises:
        Problem: If the body is neither.
    """
    if request.headers.get("content-type", "").startswith(_JSON):
        return Given(await _read_json(request), {})
    files, values = {}, {}
    async with request.form(max_files=2, max_fields=100, max_part_size=max_bytes) as form:
        for name, value in form.items():
            if isinstance(value, UploadFile):
                files[name] = Upload(value.filename or "image", await value.read())
            else:
                values[name] = value
    return Given(values, files)


async def _read_json(request: Request) -> dict[str, str]:
    try:
        body = await request.json()
    except ValueError as err:
        raise bad_request("invalid_json", "The body is not JSON") from err
    if not isinstance(body, dict):
        raise bad_request("invalid_json", "The body is not a JSON object")
    return {name: text_of(value) for name, value in body.items()}


def text_of(value: object) -> str:
    """Return a value of JSON as a form would have it; "" of null."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def decoded(text: str) -> bytes:
    """Return the bytes of base64, which may be a data URL.

    Raises:
        ValueError: If it is not base64.
    """
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except binascii.Error as err:
        raise ValueError("not base64") from err


async def make(
    gateway: Gateway,
    key: ApiKey,
    image: Upload,
    wanted: RemoveRequest,
    background: bytes | None = None,
) -> Made:
    """Process one image and return its picture.

    Args:
        gateway: The gateway.
        key: The caller's key.
        image: The image.
        wanted: What to do with it.
        background: An image that the outputs have as their background.

    Raises:
        Problem: If the image fails, nobody processes it in time, or too many callers wait.
        ConfigError: If *wanted* is not valid.
    """
    job = prepare(gateway, key, wanted)
    if background is not None:
        job = job.on(background)
    record = await process(gateway, job, image)
    return Made(job, record, await run_in_threadpool(picture_of, gateway, job, record))


def mask_in(picture: Picture) -> Picture:
    """Return the mask in a ZIP of colour and mask."""
    with zipfile.ZipFile(io.BytesIO(picture.data)) as archive:
        return Picture(archive.read(_MASK), "image/png", _MASK)


def bad_request(code: str, title: str) -> Problem:
    """Return the problem of a parameter; *code* is the one of the front's API."""
    return Problem(HTTPStatus.BAD_REQUEST, code, title)
