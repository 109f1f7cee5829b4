"""Map the error codes of S3 to error classes and advice, in one table.

`docs/reliability.md` contains this table; `tests/unit/project/test_answers_table.py` compares them.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import (
    BucketUnavailable,
    InvalidKey,
    ObjectArchived,
    ObjectMissing,
    RequestRefused,
    StoreError,
    StoreUnavailable,
)
from shared.objects.protocol import PreconditionFailed

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

NO_KEY: Final = frozenset({"404", "NoSuchKey"})
FORBIDDEN: Final = frozenset({"403", "AccessDenied"})


class WriteConflict(StoreError):
    """Another conditional write of the key is in progress; try again at once."""


@dataclass(frozen=True)
class Meaning:
    """What a group of error codes means."""

    codes: tuple[str, ...]
    """S3 error codes; for a response without a body, such as to HEAD, the HTTP status."""
    fault: type[StoreError]
    advice: str
    """What happened and what to do; `{...}` stands for a field of the answer."""
    quotes: bool = False
    """Whether the service's own message says more than the advice does."""
    plain: bool = False
    """Whether the advice says all, so that the code adds nothing."""


TABLE: Final = (
    Meaning(("NoSuchKey", "404"), ObjectMissing, "object not found"),
    Meaning(
        ("InvalidObjectState",), ObjectArchived, "archived ({storage_class}); restore it first"
    ),
    Meaning(
        ("KeyTooLongError", "KeyTooLong"),
        InvalidKey,
        "name too long, so the store does not accept this key; rename the image",
        plain=True,
    ),
    Meaning(("InvalidURI",), InvalidKey, "the store does not accept this key"),
    Meaning(
        ("AccessDenied", "403"),
        RequestRefused,
        "access denied; check the permissions of RMBG_S3_ACCESS_KEY_ID",
    ),
    Meaning(
        ("NoSuchBucket", "InvalidBucketName"),
        BucketUnavailable,
        "bucket not found; create it or fix RMBG_INPUT_BUCKETS or RMBG_OUTPUT_BUCKET",
    ),
    Meaning(
        ("AllAccessDisabled", "AccountProblem", "NotSignedUp"),
        BucketUnavailable,
        "the store has blocked this bucket or account; contact its operator",
        quotes=True,
    ),
    Meaning(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"),
        BucketUnavailable,
        "the credentials were refused; check RMBG_S3_ACCESS_KEY_ID and RMBG_S3_SECRET_ACCESS_KEY",
    ),
    Meaning(
        (
            *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
            *("PermanentRedirect", "301", "307"),
        ),
        BucketUnavailable,
        "the store expects {region}; set RMBG_S3_REGION",
    ),
    Meaning(
        ("NotImplemented", "501"),
        BucketUnavailable,
        "the store does not implement this request; a store without conditional writes needs "
        "RMBG_S3_CONDITIONAL=off",
        quotes=True,
    ),
    Meaning(
        ("PreconditionFailed", "412", "304"), PreconditionFailed, "the condition does not hold"
    ),
    Meaning(
        ("ConditionalRequestConflict", "OperationAborted", "409"),
        WriteConflict,
        "another write of this key is in progress",
    ),
    Meaning(
        ("RequestTimeTooSkewed",),
        StoreUnavailable,
        "the clocks of this machine and of the service differ; synchronise them",
    ),
    Meaning(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        StoreUnavailable,
        "the credentials have expired; renew them",
    ),
    Meaning(
        (
            *("RequestTimeout", "SlowDown", "TooManyRequests", "Throttling", "ThrottlingException"),
            *("RequestLimitExceeded", "BandwidthLimitExceeded", "408", "425", "429"),
        ),
        StoreUnavailable,
        "the service is busy",
    ),
)
"""In this order: the item fails, the job waits, the write is decided anew, the call is retried."""
OUTAGE: Final = Meaning(("5xx",), StoreUnavailable, "the service failed", quotes=True)
"""Every code of 500 and above that `TABLE` does not name."""
REFUSED: Final = Meaning(("4xx",), RequestRefused, "the store refuses this request", quotes=True)
"""Every code below 500 that `TABLE` does not name: repeating the request does not help."""
_BY_CODE: Final = {code: meaning for meaning in TABLE for code in meaning.codes}
_TRANSIENT_STATUS: Final = frozenset({"408", "409", "425", "429"})
_REGION: Final = re.compile(r"expect\w* '?([a-z]{2}[a-z0-9-]+)")


@dataclass(frozen=True)
class Answer:
    """An error response of the store."""

    code: str
    status: int
    message: str
    storage_class: str
    region: str
    """`region NAME` if the response names it, else `another region`."""

    @classmethod
    def of(cls, err: "ClientError") -> "Answer":
        """Read the response that botocore raised *err* for."""
        response: dict[str, Any] = dict(err.response)
        facts, error = response.get("ResponseMetadata", {}), response.get("Error", {})
        status = int(facts.get("HTTPStatusCode", 0))
        message = " ".join(str(error.get("Message") or "").split())
        named = _REGION.search(message)
        region = (
            error.get("Region")
            or facts.get("HTTPHeaders", {}).get("x-amz-bucket-region")
            or (named and named[1])
        )
        return cls(
            code=str(error.get("Code") or status),
            status=status,
            message=message,
            storage_class=str(error.get("StorageClass") or "in an archive"),
            region=f"region {region}" if region else "another region",
        )

    @property
    def meaning(self) -> Meaning:
        """What the response means."""
        if found := _BY_CODE.get(self.code):
            return found
        if str(self.status) in _TRANSIENT_STATUS:
            return _BY_CODE[str(self.status)]
        # Without a status there was a response that botocore could not read.
        return REFUSED if 300 <= self.status < 500 else OUTAGE  # noqa: PLR2004 - HTTP classes

    def text(self) -> str:
        """Return what happened and what to do, with the service's own message where it helps."""
        meaning = self.meaning
        advice = meaning.advice.format(storage_class=self.storage_class, region=self.region)
        if meaning.plain:
            return advice
        own = f": {self.message}" if meaning.quotes and self.message else ""
        return f"{advice}{own} ({self.code}, HTTP {self.status})"
