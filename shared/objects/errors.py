"""The one seam at which boto3's errors become ours."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from shared.errors import BucketUnavailable, InvalidKey, ObjectMissing, StoreUnavailable
from shared.objects.protocol import PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

FORBIDDEN: Final = ("403", "AccessDenied", "AllAccessDisabled", "AccountProblem")
NO_KEY: Final = ("404", "NoSuchKey")
_REFUSED: Final = (
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
)


class WriteConflict(Exception):
    """Another conditional write of the key was under way: to be tried again at once."""


_Kind: TypeAlias = tuple[type[Exception], str]
_OTHER: Final[_Kind] = (StoreUnavailable, "the service is out of order or busy")
_KINDS: Final[dict[str, _Kind]] = {
    **dict.fromkeys(
        _REFUSED,
        (
            StoreUnavailable,
            "the credentials are refused; check RMBG_S3_ACCESS_KEY_ID and its secret",
        ),
    ),
    "RequestTimeTooSkewed": (StoreUnavailable, "this machine's clock and the service's differ"),
    **dict.fromkeys(
        FORBIDDEN,
        (BucketUnavailable, "no right to do that; check the rights of RMBG_S3_ACCESS_KEY_ID"),
    ),
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName"), (BucketUnavailable, "there is no such bucket")
    ),
    **dict.fromkeys(NO_KEY, (ObjectMissing, "there is no such object")),
    **dict.fromkeys(
        ("InvalidURI", "KeyTooLongError"),
        (InvalidKey, "the store takes no such key"),
    ),
    **dict.fromkeys(("412", "PreconditionFailed"), (PreconditionFailed, "the condition fails")),
    **dict.fromkeys(
        ("409", "ConditionalRequestConflict", "OperationAborted"),
        (WriteConflict, "another write of this key is under way"),
    ),
}
"""What an error code means for us, and what is said about it."""


@dataclass(frozen=True)
class Seam:
    """Translates errors, naming the service they came from."""

    service: str
    """`S3 at ADDRESS`, as it stands in texts; without secrets."""

    @contextmanager
    def translate(
        self, operation: str, bucket: str, key: str = "", *, conditional: bool = False
    ) -> Iterator[None]:
        """Turn what boto3 raises inside into the errors that `ObjectStore` names.

        Args:
            operation: What was tried, for the text: get, put, list, ...
            bucket: The bucket.
            key: The key, where one is concerned.
            conditional: Whether a missing object is the condition's fault: a write on the
                condition of an ETag answers so.
        """
        try:
            yield
        except ClientError as err:
            fault = self._answered(err, operation, bucket, key)
            if conditional and isinstance(fault, ObjectMissing):
                raise PreconditionFailed(str(fault)) from err
            raise fault from err
        except (ParamValidationError, UnicodeEncodeError) as err:
            unsendable = self._unsendable(err, bucket, key)
            if unsendable is None:
                raise
            raise unsendable from err
        except (NoCredentialsError, PartialCredentialsError) as err:
            raise StoreUnavailable(
                f"{self.service}: there are no credentials; set RMBG_S3_ACCESS_KEY_ID and "
                "RMBG_S3_SECRET_ACCESS_KEY"
            ) from err
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as err:
            raise StoreUnavailable(
                f"{self.service}: {operation} got no answer ({_cause(err)}); check "
                "RMBG_S3_ENDPOINT and that the service is up"
            ) from err

    def _answered(self, err: ClientError, operation: str, bucket: str, key: str) -> Exception:
        code, status = code_of(err)
        kind, advice = _OTHER if code in NO_KEY and not key else _KINDS.get(code, _OTHER)
        at = f"{bucket}/{key}" if key else f"bucket {bucket}"
        return kind(f"{self.service}: {operation} of {at}: {advice} ({code}, HTTP {status})")

    def _unsendable(self, err: Exception, bucket: str, key: str) -> Exception | None:
        """Sort what boto3 refuses to send; None: no name of the user's, so a bug of ours."""
        if "bucket name" in str(err):
            return BucketUnavailable(f"{self.service}: {bucket!r} is no bucket name")
        if not key or isinstance(err, UnicodeEncodeError):
            return InvalidKey(f"{bucket}/{key!r}: no key is empty or other than Unicode")
        return None


def code_of(err: ClientError) -> tuple[str, int]:
    """Return an answer's error code and HTTP status."""
    answer: dict[str, Any] = dict(err.response)
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return str(answer.get("Error", {}).get("Code", status)), status


def _cause(err: BaseException) -> str:
    """Name the innermost reason in few words; texts of the outer layers repeat one another."""
    while (inner := err.__cause__ or err.__context__) is not None:
        err = inner
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
