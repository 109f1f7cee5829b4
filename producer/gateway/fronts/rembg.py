"""The API of rembg's server: `/api/remove`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from producer.gateway.access import Submitter
from producer.gateway.bodies import fetched
from producer.gateway.context import Gateway, Here
from producer.gateway.fronts.service import Given, bad_request, make, mask_in, read
from producer.gateway.light import Upload
from producer.gateway.problems import Problem
from producer.gateway.schemas import RemoveRequest
from shared.access import ApiKey
from shared.errors import ConfigError
from shared.recipes import Recipe
from shared.recipes.background import Colour

PREFIX: Final = "/api/remove"
router: Final = APIRouter(prefix="/api", include_in_schema=False)

_FIXED: Final = {"af": "240", "ab": "10", "ae": "10", "extras": "{}"}
"""Parameters that cannot be changed, and their values."""
_FIELDS: Final = frozenset({"url", "model", "a", "om", "ppm", "bgc", *_FIXED})
_TRUTHS: Final = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
_HARD_FROM: Final = 128
"""Level from which `ppm` makes the mask opaque."""


def error_format(problem: Problem) -> Response:
    """Return a problem as rembg's server writes errors."""
    is_invalid = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    status = HTTPStatus.BAD_REQUEST if is_invalid else problem.status
    return JSONResponse({"detail": problem.detail}, status, dict(problem.headers))


@router.get("/remove")
async def remove_url(gateway: Here, key: Submitter, request: Request) -> Response:
    """Remove the background of the image at the parameter `url`."""
    values = dict(request.query_params)
    if not values.get("url"):
        raise bad_request("missing_url", "give url, the address of an image")
    wanted, has_mask_only = _translated(values)
    url = values["url"]
    image = await fetched(gateway.fetcher, url)
    return await _made(gateway, key, image, wanted, has_mask_only=has_mask_only)


@router.post("/remove")
async def remove_file(gateway: Here, key: Submitter, request: Request) -> Response:
    """Remove the background of the image in the part `file`."""
    given: Given = await read(request, gateway.settings.max_body_bytes)
    if "file" not in given.files:
        raise bad_request("missing_file", "the form has no file; call its part file")
    wanted, has_mask_only = _translated({**request.query_params, **given.values})
    return await _made(gateway, key, given.files["file"], wanted, has_mask_only=has_mask_only)


async def _made(
    gateway: Gateway, key: ApiKey, image: Upload, wanted: RemoveRequest, *, has_mask_only: bool
) -> Response:
    try:
        made = await make(gateway, key, image, wanted)
    except ConfigError as err:
        raise bad_request("invalid", str(err)) from err
    picture = mask_in(made.picture) if has_mask_only else made.picture
    return Response(picture.data, media_type=picture.media_type)


def _translated(values: Mapping[str, str]) -> tuple[RemoveRequest, bool]:
    """Return what parameters ask for, and whether it is the mask in a ZIP.

    Edges have estimated colours with and without `a` (alpha matting).
    """
    if unknown := sorted(values.keys() - _FIELDS):
        raise bad_request("unknown", f"unknown parameter {', '.join(unknown)}")
    for name, fixed in _FIXED.items():
        if values.get(name, "") not in ("", fixed):
            raise bad_request("fixed", f"{name} cannot be changed here; leave it out")
    _truth(values, "a")
    model = values.get("model") or None
    has_mask_only, is_hard = _truth(values, "om"), _truth(values, "ppm")
    if not is_hard and not values.get("bgc"):
        return RemoveRequest(model=model, outputs=["mask" if has_mask_only else "cutout"]), False
    fields: dict[str, Any] = {
        "name": "rembg",
        "format": "zip" if has_mask_only else "png",
        "background": "none" if has_mask_only else _colour(values.get("bgc", "")),
    }
    if is_hard:
        fields |= {"threshold": _HARD_FROM, "remove_specks": True}
    return RemoveRequest(model=model, outputs=[Recipe.model_validate(fields)]), has_mask_only


def _truth(values: Mapping[str, str], name: str) -> bool:
    value = _TRUTHS.get(values.get(name, "").lower() or "false")
    if value is None:
        raise bad_request("invalid", f"{name} must be true or false")
    return value


def _colour(text: str) -> str:
    """Return the colour of `r,g,b,a`, each from 0 to 255; none of an empty text."""
    if not text:
        return "none"
    try:
        red, green, blue, alpha = (int(each) for each in text.split(","))
        return str(Colour(red, green, blue, alpha))
    except ValueError as err:
        raise bad_request("invalid", "bgc must be r,g,b,a, each from 0 to 255") from err
