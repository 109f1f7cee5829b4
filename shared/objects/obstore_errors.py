"""Translation of obstore's errors to those that boto3 raises for the same response."""

import re
from http import HTTPStatus
from typing import Any, Final

from botocore.exceptions import ClientError
from botocore.parsers import RestXMLParser

from shared.objects.content_md5 import asks_for_digest

MARK: Final = "Error performing "
"""Start of what is read of a text. The key stands before it, so it must not contain it."""
_RESPONSE: Final = re.compile(
    MARK + r"[A-Z]+ .+? - Server returned non-2xx status code: (\d{3})[^:\n]*: (.*?)"
    r"(?:\n\nDebug source:|\Z)",
    re.DOTALL,
)
_REDIRECT: Final = "redirect without LOCATION"
_REGION_CODES: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)


def response_of(err: BaseException, operation: str) -> ClientError | None:
    """Return the error of boto3 for the response that *err* quotes; None if it quotes none.

    The classes of obstore do not say enough: `NoSuchBucket` and `NoSuchKey` share one, and so do
    `InvalidObjectState` and `AccessDenied`.
    """
    found = _RESPONSE.search(str(err))
    if found is None:
        return None
    response: dict[str, Any] = {
        "status_code": int(found[1]),
        "headers": {},
        "body": found[2].encode(),
    }
    no_shape: Any = None  # an error is parsed without one
    return ClientError(RestXMLParser().parse(response, no_shape), operation)


def has_code(err: ClientError) -> bool:
    """Return whether the response names an S3 error code, not only an HTTP status."""
    return not err.response["Error"]["Code"].isdecimal()


def is_decided_by_status(err: ClientError) -> bool:
    """Return whether the status of a response to HEAD, which has no body, says enough.

    A redirect and status 400 may mean another region, which boto3 finds.
    """
    status = _status(err)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.PRECONDITION_FAILED,
    }


def is_about_the_request(err: ClientError) -> bool:
    """Return whether the response may be about how it was requested: region, signature, digest.

    obstore follows redirects of a GET to another region without a signature, so that a refusal may
    come from there.
    """
    status = _status(err)
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST or status in {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
    }


def needs_boto3(err: ClientError) -> bool:
    """Return whether only boto3 can do what the response asks for: another region, a digest."""
    error = err.response["Error"]
    return error["Code"] in _REGION_CODES or asks_for_digest(error)


def is_redirect(err: BaseException) -> bool:
    """Return whether the store redirects to another region and does not say where it is."""
    return _REDIRECT in first_line(err)


def first_line(err: BaseException) -> str:
    """Return what happened, without the tree of objects that obstore appends."""
    return str(err).partition("\n")[0]


def _status(err: ClientError) -> int:
    return int(err.response["ResponseMetadata"]["HTTPStatusCode"])
