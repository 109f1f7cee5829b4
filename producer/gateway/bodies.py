"""Read an image and its options from the body of a request."""

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from producer.gateway.light import Upload
from producer.gateway.problems import invalid
from producer.gateway.schemas import RemoveRequest

FILE_FIELDS: Final = ("file", "image")
"""Names of the part that holds the image."""
_MULTIPART: Final = "multipart/form-data"
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "request": {
                            "type": "string",
                            "description": "Model, outputs and options as JSON: RemoveRequest",
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""What OpenAPI says about the body."""


async def read_image(request: Request, default: RemoveRequest) -> tuple[Upload, RemoveRequest]:
    """Return the image of a request and what to do with it.

    Args:
        request: With the image as a part of a form, or as its whole body.
        default: What to do if the form has no part `request`.

    Raises:
        Problem: If there is no image.
        RequestValidationError: If the part `request` is not valid.
    """
    if not request.headers.get("content-type", "").startswith(_MULTIPART):
        return _checked(Upload("image", await request.body())), default
    async with request.form(max_files=1, max_fields=10) as form:
        parts = (form.get(name) for name in FILE_FIELDS)
        file = next((part for part in parts if isinstance(part, UploadFile)), None)
        if file is None:
            raise invalid(f"the form has no file; call its part {' or '.join(FILE_FIELDS)}")
        upload = Upload(file.filename or "image", await file.read())
        given = form.get("request")
    return _checked(upload), _parsed(given) if isinstance(given, str) else default


def _checked(upload: Upload) -> Upload:
    if not upload.data:
        raise invalid("the image is empty")
    return upload


def _parsed(text: str) -> RemoveRequest:
    try:
        return RemoveRequest.model_validate_json(text)
    except ValidationError as err:
        raise RequestValidationError(err.errors()) from err
