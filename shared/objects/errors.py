"""Translation of boto3's errors to this project's; the only place where that happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from shared.errors import (
    BucketUnavailable,
    InvalidKey,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from shared.objects.protocol import PreconditionFailed

FORBIDDEN: Final = ("403", "AccessDenied", "AllAccessDisabled", "AccountProblem")
NO_KEY: Final = ("404", "NoSuchKey")


class WriteConflict(StoreError):
    """Another conditional write of the key is in progress; try again at once."""


_Kind: TypeAlias = tuple[type[StoreError], str]
_OTHER: Final[_Kind] = (StoreUnavailable, "the service failed or is busy")
_KINDS: Final[dict[str, _Kind]] = {
    **dict.fromkeys(
        (
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
        ),
        (
            StoreUnavailable,
            (
                "the credentials were refused; check RMBG_S3_ACCESS_KEY_ID and "
                "RMBG_S3_SECRET_ACCESS_KEY"
            ),
        ),
    ),
    "RequestTimeTooSkewed": (
        StoreUnavailable,
        "the clocks of this machine and of the service differ; synchronise them",
    ),
    **dict.fromkeys(
        FORBIDDEN,
        (BucketUnavailable, "access denied; check the permissions of RMBG_S3_ACCESS_KEY_ID"),
    ),
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName"),
        (
            BucketUnavailable,
            "bucket not found; create it or fix RMBG_INPUT_BUCKETS or RMBG_OUTPUT_BUCKET",
        ),
    ),
    **dict.fromkeys(NO_KEY, (ObjectMissing, "object not found")),
    **dict.fromkeys(
        ("InvalidURI", "KeyTooLongError"), (InvalidKey, "the store does not accept this key")
    ),
    **dict.fromkeys(
        ("412", "PreconditionFailed"), (PreconditionFailed, "the condition does not hold")
    ),
    **dict.fromkeys(
        ("409", "ConditionalRequestConflict", "OperationAborted"),
        (WriteConflict, "another write of this key is in progress"),
    ),
}
"""S3 error codes to error class and explanation."""


@dataclass(frozen=True)
class ErrorTranslator:
    """Translate the errors of one service's client."""

    service: str
    """`S3 at ADDRESS`, for messages; holds no secret."""

    @contextmanager
    def translate(
        self, operation: str, bucket: str, key: str = "", *, conditional: bool = False
    ) -> Iterator[None]:
        """Turn what boto3 raises inside the block into the errors that `ObjectStore` documents.

        The errors get *bucket*, *operation* and the S3 error code as attributes.

        Args:
            operation: Method of `ObjectStore`.
            bucket: The bucket.
            key: The key, if the operation has one.
            conditional: Whether a missing object means that the condition does not hold; S3
                answers so to a write with `If-Match`.
        """
        try:
            yield
        except (BotoCoreError, ClientError, HTTPError, OSError, UnicodeEncodeError) as err:
            fault = self._fault(err, operation, bucket, key)
            if fault is None:
                raise
            if conditional and isinstance(fault, ObjectMissing):
                fault = PreconditionFailed(str(fault))
            fault.bucket, fault.operation = bucket, operation
            raise fault from err

    def _fault(self, err: Exception, operation: str, bucket: str, key: str) -> StoreError | None:
        """Return the error to raise for *err*; None for a bug of ours."""
        match err:
            case ClientError():
                return self._answered(err, operation, bucket, key)
            case ParamValidationError() | UnicodeEncodeError():
                return self._not_sent(err, bucket, key)
            case NoCredentialsError() | PartialCredentialsError():
                return StoreUnavailable(
                    f"{self.service}: no credentials; set RMBG_S3_ACCESS_KEY_ID and "
                    "RMBG_S3_SECRET_ACCESS_KEY"
                )
            case _:
                return StoreUnavailable(
                    f"{self.service}: {operation} got no answer ({_cause(err)}); check "
                    "RMBG_S3_ENDPOINT and that the service is up"
                )

    def _answered(self, err: ClientError, operation: str, bucket: str, key: str) -> StoreError:
        code, status = code_of(err)
        kind, advice = _OTHER if code in NO_KEY and not key else _KINDS.get(code, _OTHER)
        at = f"{bucket}/{key}" if key else f"bucket {bucket}"
        text = f"{self.service}: {operation} of {at}: {advice} ({code}, HTTP {status})"
        return kind(text, code=code)

    def _not_sent(self, err: Exception, bucket: str, key: str) -> StoreError | None:
        """Return the error for a request that boto3 refuses to send."""
        if "bucket name" in str(err):
            return BucketUnavailable(f"{self.service}: {bucket!r} is not a valid bucket name")
        if not key or isinstance(err, UnicodeEncodeError):
            return InvalidKey(f"{bucket}/{key!r}: a key must be valid Unicode and not empty")
        return None


def code_of(err: ClientError) -> tuple[str, int]:
    """Return the error code and HTTP status of a response."""
    answer: dict[str, Any] = dict(err.response)
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return str(answer.get("Error", {}).get("Code", status)), status


def _cause(err: BaseException) -> str:
    """Describe the innermost cause; the messages of outer errors repeat it."""
    while (inner := err.__cause__ or err.__context__) is not None:
        err = inner
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
