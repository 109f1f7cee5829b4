"""Probe buckets: read an input bucket, and write, replace and delete in the output bucket."""

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from shared.errors import BucketUnavailable, StoreError, StoreUnavailable
from shared.objects.protocol import ObjectStore, PreconditionFailed
from shared.probes.finding import Finding, Level

FOLDER: Final = "_jobs/.probe/"
"""Folder of the objects that a probe writes and deletes."""
_TYPE: Final = "text/plain"
_METADATA: Final = {"rmbg-probe": "1"}
_ACCEPT: Final = (
    "use a store with conditional writes, or accept with RMBG_S3_CONDITIONAL=off that a worker "
    "that was frozen may write an output twice"
)


_ROUNDS: Final = 3
"""Conditional writes that must fail, each before a plain one that succeeds."""


class _ConditionRefused(Exception):
    """The store fails on writes with a condition only; the text is its code and HTTP status."""


def probe_input(objects: ObjectStore, bucket: str) -> Iterator[Finding]:
    """Read and list an input bucket; nothing is written.

    Raises:
        StoreError: If that fails.
    """
    objects.check(bucket)
    next(iter(objects.list(bucket, "")), None)
    return iter(())


def probe_output(objects: ObjectStore, bucket: str, *, conditional: bool) -> Iterator[Finding]:
    """Do once in the output bucket what workers do, under `_jobs/`, and delete it again.

    Args:
        objects: The store.
        bucket: The output bucket.
        conditional: Whether the store is set up to be used with conditional writes.

    Raises:
        StoreError: If an operation fails that every store has.
    """
    objects.check(bucket)
    next(iter(objects.list(bucket, FOLDER)), None)
    subject, nonce = f"bucket {bucket}", secrets.token_hex(8)
    plain, guarded = f"{FOLDER}{nonce}.plain", f"{FOLDER}{nonce}.guarded"
    if not conditional:
        yield Finding(
            subject,
            Level.WARNING,
            "RMBG_S3_CONDITIONAL=off: a worker that was frozen may write an output twice",
        )
    objects.put(bucket, plain, b"probe", content_type=_TYPE, metadata=_METADATA)
    try:
        yield from _read_back(objects, bucket, plain, subject)
        if fault := _conditional_fault(objects, bucket, guarded):
            yield Finding(subject, Level.UNFIT, f"{fault}; {_ACCEPT}")
    finally:
        objects.delete(bucket, [plain, guarded, _plain(guarded)])
    if objects.head(bucket, plain) is not None:
        yield Finding(
            subject,
            Level.UNAVAILABLE,
            f"{plain} is still there after its deletion; allow deletion under _jobs/",
        )


def _read_back(objects: ObjectStore, bucket: str, key: str, subject: str) -> Iterator[Finding]:
    found, body = objects.head(bucket, key), objects.get(bucket, key)
    if found is None or body.data != b"probe" or dict(found.metadata) != _METADATA:
        yield Finding(
            subject,
            Level.UNFIT,
            "an object is read back without its bytes or its metadata, by which outputs are "
            "recognised; use a store that keeps both",
        )


def _conditional_fault(objects: ObjectStore, bucket: str, key: str) -> str | None:
    """Return what is wrong with conditional writes, or None."""
    put = partial(_put_guarded, objects, bucket, key)
    try:
        etag = put(if_absent=True)
        if _is_accepted(put, if_absent=True):
            return "the store ignores If-None-Match, so a late worker would replace an output"
        if _is_accepted(put, if_match="0" * 32):
            return "the store ignores If-Match, so a late worker would replace an output"
        put(if_match=etag)
    except PreconditionFailed as err:
        return f"the store refuses a conditional write whose condition holds ({err})"
    except BucketUnavailable as err:  # a plain write was accepted, so the condition is the cause
        return f"the store has no conditional writes ({err.code}): {_words(err)}"
    except _ConditionRefused as err:
        return f"the store refuses conditional writes and accepts others ({err})"
    return None


def _put_guarded(
    objects: ObjectStore,
    bucket: str,
    key: str,
    *,
    if_absent: bool = False,
    if_match: str | None = None,
) -> str:
    """Write *key* if the condition holds; return its ETag.

    Raises:
        _ConditionRefused: If the store fails each time, and accepts a plain write right after.
        StoreError: If it fails for another reason.
    """
    for _ in range(_ROUNDS):
        try:
            return objects.put(
                bucket, key, b"1", content_type=_TYPE, if_absent=if_absent, if_match=if_match
            )
        except StoreUnavailable as err:
            if not err.code:  # no answer
                raise
            fault = err
            objects.put(bucket, _plain(key), b"1", content_type=_TYPE)
    raise _ConditionRefused(str(fault).rpartition(" (")[2].removesuffix(")")) from fault


def _is_accepted(
    put: Callable[..., str], *, if_absent: bool = False, if_match: str | None = None
) -> bool:
    """Return whether the store accepts a write whose condition does not hold."""
    try:
        put(if_absent=if_absent, if_match=if_match)
    except PreconditionFailed:
        return False
    return True


def _plain(key: str) -> str:
    """Return the key of the plain writes that are compared with those of *key*."""
    return f"{key}.plain"


def _words(err: StoreError) -> str:
    return str(err).rpartition("RMBG_S3_CONDITIONAL=off: ")[2]
