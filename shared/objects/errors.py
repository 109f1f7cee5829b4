"""Translation of boto3's errors to this project's; the only place where that happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
    RequestRefused,
    StoreError,
    StoreUnavailable,
)
from shared.objects.answers import NO_KEY, Answer
from shared.objects.protocol import PreconditionFailed


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
        answer = Answer.of(err)
        fault = answer.meaning.fault
        if not key:  # a response about the bucket is no answer about a key
            fault = StoreUnavailable if answer.code in NO_KEY else fault
            fault = BucketUnavailable if fault is RequestRefused else fault
        at = f"{bucket}/{key}" if key else f"bucket {bucket}"
        text = f"{self.service}: {operation} of {at}: {answer.text()}"
        return fault(text, code=answer.code)

    def _not_sent(self, err: Exception, bucket: str, key: str) -> StoreError | None:
        """Return the error for a request that boto3 refuses to send."""
        if "bucket name" in str(err):
            return BucketUnavailable(f"{self.service}: {bucket!r} is not a valid bucket name")
        if not key or isinstance(err, UnicodeEncodeError):
            return InvalidKey(f"{bucket}/{key!r}: a key must be valid Unicode and not empty")
        return None


def _cause(err: BaseException) -> str:
    """Describe the innermost cause; the messages of outer errors repeat it."""
    while (inner := err.__cause__ or err.__context__) is not None:
        err = inner
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
