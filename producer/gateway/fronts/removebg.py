"""The API of remove.bg: `POST /v1.0/removebg` and `GET /v1.0/account`."""

import base64
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from producer.gateway.access import Submitter
from producer.gateway.context import Gateway, Here
from producer.gateway.fronts.removebg_fields import (
    FULL_MP,
    NAME,
    PREVIEW_MP,
    InvalidField,
    Wanted,
    translate,
)
from producer.gateway.fronts.service import Given, Made, bad_request, decoded, make, mask_in, read
from producer.gateway.light import Upload
from producer.gateway.problems import Problem
from producer.gateway.schemas import RemoveRequest
from shared.access import ApiKey
from shared.job.record import ItemRecord
from shared.recipes.values import Roi

PREFIX: Final = "/v1.0/"
router: Final = APIRouter(prefix="/v1.0", include_in_schema=False)

SOURCES: Final = ("image_file", "image_file_b64", "image_url")
_BACKGROUNDS: Final = ("bg_image_file", "bg_image_url")
_CREDITS: Final = 1_000_000
"""Credits that every account has: calls cost none, and some clients ask before they call."""
_ANSWERS: Final[Mapping[str, tuple[HTTPStatus, str]]] = {
    "unauthorized": (HTTPStatus.FORBIDDEN, "auth_failed"),
    "too-many-requests": (HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_exceeded"),
    "too-many-waiting": (HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_exceeded"),
    "body-too-large": (HTTPStatus.BAD_REQUEST, "file_too_large"),
    "invalid-request": (HTTPStatus.BAD_REQUEST, "invalid_parameter"),
}
"""Statuses and codes of problems that other modules find."""
_FAULTS: Final = {
    "UndecodableImage": "failed_to_read_image",
    "UnsupportedImage": "invalid_file_type",
    "ImageTooLarge": "resolution_too_high",
}
"""Codes of images that fail."""


def error_format(problem: Problem) -> Response:
    """Return a problem as remove.bg writes errors."""
    status, code = _ANSWERS.get(problem.name, (problem.status, problem.name.replace("-", "_")))
    body = {"errors": [{"title": problem.detail, "code": code}]}
    return JSONResponse(body, status, dict(problem.headers))


@router.get("/account")
def account(_gateway: Here, key: Submitter, request: Request) -> Response:
    """Return a balance: calls cost no credits."""
    credits_ = {"total": _CREDITS, "subscription": _CREDITS, "payg": 0, "enterprise": 0}
    api = {"free_calls": _CREDITS, "sizes": "all"}
    body = {"data": {"attributes": {"credits": credits_, "api": api}}}
    return JSONResponse(body, headers=_limits(key, request))


@router.post("/removebg")
async def removebg(gateway: Here, key: Submitter, request: Request) -> Response:
    """Remove the background of an image."""
    given = await read(request, gateway.settings.max_body_bytes)
    given = Given({**request.query_params, **given.values}, given.files)
    try:
        wanted = _wanted(gateway, given)
    except InvalidField as err:
        raise bad_request(err.code, str(err)) from err
    background = await _background(gateway, given)
    image = await image_in(gateway, given)
    asked = RemoveRequest(outputs=[wanted.recipe])
    try:
        made = await make(gateway, key, image, asked, background)
    except Problem as err:
        raise _failed(err) from err
    _check(made.record, wanted.roi)
    return _answer(request, made, wanted, _limits(key, request))


def _wanted(gateway: Gateway, given: Given) -> Wanted:
    """Return what a request asks for; refuse parameters that we do not know."""
    images = {*SOURCES, *_BACKGROUNDS}
    values = {name: value for name, value in given.values.items() if name not in images}
    backgrounds = _named(given, _BACKGROUNDS)
    if len(backgrounds) > 1:
        raise InvalidField("multiple_bg_sources", "Multiple background sources given: give one")
    if unknown := sorted(given.files.keys() - images):
        raise InvalidField("unknown_parameter", f"Unknown file {', '.join(unknown)}")
    preview_mp = FULL_MP if gateway.settings.preview == "full" else PREVIEW_MP
    return translate(values, has_background=bool(backgrounds), preview_mp=preview_mp)


def _named(given: Given, names: tuple[str, ...]) -> list[str]:
    """Return which of *names* a request has; empty fields do not count."""
    return [name for name in names if name in given.files or given.values.get(name, "").strip()]


async def image_in(gateway: Gateway, given: Given) -> Upload:
    """Return the image of a request.

    Raises:
        Problem: If there is none or several, or it cannot be read.
    """
    sources = _named(given, SOURCES)
    if not sources:
        raise bad_request("missing_source", "No image given")
    if len(sources) > 1:
        raise bad_request("multiple_sources", f"Multiple image sources given: {sources}")
    image = await _read_source(gateway, given, sources[0])
    if not image.data:
        raise bad_request("failed_to_read_image", "The image is empty")
    return image


async def _read_source(gateway: Gateway, given: Given, name: str) -> Upload:
    if name in given.files:
        return given.files[name]
    text = given.values[name].strip()
    if name == "image_url":
        return Upload("image", await _fetched(gateway, text, "image"))
    try:
        return Upload("image", decoded(text))
    except ValueError as err:
        raise bad_request("failed_to_read_image", f"{name} is not base64") from err


async def _background(gateway: Gateway, given: Given) -> bytes | None:
    for name in _named(given, _BACKGROUNDS):
        if name in given.files:
            return given.files[name].data
        return await _fetched(gateway, given.values[name].strip(), "bg")
    return None


async def _fetched(gateway: Gateway, url: str, what: str) -> bytes:
    """Return the body of a URL; errors have the codes of the specification."""
    try:
        return await gateway.fetcher.get(url)
    except Problem as err:
        name = {"image": "image_url", "bg": "bg_image_url"}[what]
        codes = {"url-refused": f"invalid_{name}", "url-failed": f"failed_{what}_download"}
        raise bad_request(codes.get(err.name, "file_too_large"), err.detail) from err


def _failed(problem: Problem) -> Problem:
    """Return the problem of an image that failed, with the code of its class of error."""
    if problem.name != "image-failed":
        return problem
    kind, _, reason = problem.detail.partition(": ")
    is_other = "not an image" in reason
    return bad_request("invalid_file_type" if is_other else _code_of(kind), problem.detail)


def _code_of(kind: str) -> str:
    return _FAULTS.get(kind, "processing_failed")


def _check(record: ItemRecord, roi: Roi | None) -> None:
    """Check what only the record tells: whether there is a subject, and the region's bounds."""
    sides = (record.width or 0, record.height or 0)
    corners = [] if roi is None else [(roi.right, sides[0]), (roi.bottom, sides[1])]
    if any(length.unit == "px" and length.amount > side for length, side in corners):
        raise bad_request("roi_exceeds_bounds", "ROI exceeds image bounds")
    if (record.qc or {}).get("box") is None:
        raise bad_request("unknown_foreground", "Could not identify foreground in image")


def _answer(request: Request, made: Made, wanted: Wanted, limits: dict[str, str]) -> Response:
    picture = mask_in(made.picture) if wanted.wants_mask else made.picture
    facts = made.record.outputs[NAME]
    box = dict(zip(("left", "top", "width", "height"), (made.record.qc or {})["box"], strict=True))
    headers = {
        "X-Credits-Charged": "0",
        "X-Width": str(facts.width),
        "X-Height": str(facts.height),
        "Content-Disposition": f'attachment; filename="no-bg.{picture.extension}"',
        **{f"X-Foreground-{name.capitalize()}": str(value) for name, value in box.items()},
        **({"X-Type": "other"} if wanted.has_type else {}),
        **limits,
    }
    if "application/json" not in request.headers.get("accept", ""):
        return Response(picture.data, media_type=picture.media_type, headers=headers)
    data = {f"foreground_{name}": value for name, value in box.items()}
    result = {"result_b64": base64.b64encode(picture.data).decode()}
    return JSONResponse({"data": result | data}, headers=headers)


def _limits(key: ApiKey, request: Request) -> dict[str, str]:
    quota = request.state.quota
    return {
        "X-RateLimit-Limit": str(key.rate_per_minute),
        "X-RateLimit-Remaining": str(quota.left),
        "X-RateLimit-Reset": str(round(time.time()) + quota.reset_s),
    }
