"""Read an image and its options from the body of a request."""

from typing import Any, Final

import httpx
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from producer.gateway.fetch import Fetcher
from producer.gateway.light import Upload
from producer.gateway.problems import invalid
from producer.gateway.schemas import RemoveRequest

FILE_FIELDS: Final = ("file", "image")
"""Names of the part that holds the image."""
_MULTIPART: Final = "multipart/form-data"
_JSON: Final = "application/json"
_REQUEST: Final = RemoveRequest.model_json_schema(ref_template="#/components/schemas/{model}")
del _REQUEST["$defs"]  # other routes have these, and OpenAPI collects them
_REQUEST["required"] = ["url"]  # JSON holds no image
_REQUEST["properties"]["url"] = {"type": "string", "minLength": 1, "maxLength": 8192}
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _MULTIPART: {
                "schema": {
                    "type": "object",
                    "oneOf": [{"required": ["file"]}, {"required": ["url"]}],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "url": {"type": "string", "description": "Instead of a file"},
                        "request": {
                            "type": "string",
                            "description": "Model, outputs and options as JSON: RemoveRequest",
                        },
                    },
                }
            },
            _JSON: {"schema": _REQUEST},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""What OpenAPI says about the body."""


async def read_image(
    request: Request, default: RemoveRequest, fetcher: Fetcher
) -> tuple[Upload, RemoveRequest]:
    """Return the image of a request and what to do with it.

    Args:
        request: With the image as a part of a form, as its whole body, or at a URL that a form or
            JSON names.
        default: What to do if the body does not say it.
        fetcher: Fetches the URL.

    Raises:
        Problem: If there is no image, or its URL cannot be fetched.
        RequestValidationError: If the JSON is not valid.
    """
    kind = request.headers.get("content-type", "")
    if kind.startswith(_MULTIPART):
        upload, wanted = await _form(request, default)
    elif kind.startswith(_JSON):
        upload, wanted = None, _parsed(await request.body())
    else:
        upload, wanted = Upload("image", await request.body()), default
    if upload is None:
        if wanted.url is None:
            raise invalid(f"there is no image; send url, or a part {' or '.join(FILE_FIELDS)}")
        upload = await fetched(fetcher, wanted.url)
    elif wanted.url is not None:
        raise invalid("there are two images; send a file or url")
    if not upload.data:
        raise invalid("the image is empty")
    return upload, wanted


async def _form(request: Request, default: RemoveRequest) -> tuple[Upload | None, RemoveRequest]:
    async with request.form(max_files=1, max_fields=10) as form:
        parts = (form.get(name) for name in FILE_FIELDS)
        file = next((part for part in parts if isinstance(part, UploadFile)), None)
        upload = None if file is None else Upload(file.filename or "image", await file.read())
        given, url = form.get("request"), form.get("url")
    wanted = _parsed(given) if isinstance(given, str) else default
    return upload, _parsed(wanted.model_dump() | {"url": url}) if url else wanted


async def fetched(fetcher: Fetcher, url: str) -> Upload:
    """Return the image at a URL.

    Raises:
        Problem: If the URL is refused, or cannot be fetched.
    """
    data = await fetcher.get(url)  # before the name is read: it checks the URL
    return Upload(name_in(url), data)


def name_in(url: str) -> str:
    """Return the file name at the end of a valid URL.

    >>> name_in("https://shop.example/a/shoe.jpg?w=100")
    'shoe.jpg'
    """
    return httpx.URL(url).path.rpartition("/")[2] or "image"


def _parsed(given: bytes | str | dict[str, Any]) -> RemoveRequest:
    try:
        if isinstance(given, dict):
            return RemoveRequest.model_validate(given)
        return RemoveRequest.model_validate_json(given)
    except ValidationError as err:
        raise RequestValidationError(err.errors()) from err
