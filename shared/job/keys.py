"""Keys of a job's documents, and the rules for image keys and save prefixes."""

import re
from datetime import datetime
from typing import Final

from shared.errors import InvalidKey, InvalidPrefix, RmbgError

JOBS: Final = "_jobs"
"""Folder of all job documents in the output bucket."""
PREVIEWS: Final = "_preview"
"""Folder of `Preview` images; workers delete them after a day."""
MAX_KEY_BYTES: Final = 1024
"""S3's limit for a key, in bytes of UTF-8."""

_DATES: Final = ("year", "month", "day", "hour", "minute", "second")
AT_WORKER: Final = ("width", "height", "batch_num")
"""Placeholders that only the worker can fill in."""
PLACEHOLDER: Final = re.compile(f"%(?:{'|'.join(_DATES + AT_WORKER)})%")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def expand_prefix(prefix: str, now: datetime) -> str:
    """Return *prefix* with its date placeholders replaced by parts of *now*, a local time.

    `%width%`, `%height%` and `%batch_num%` are left for the worker.

    >>> from datetime import datetime
    >>> expand_prefix("%year%/%month%-%day%/%width%", datetime(2026, 3, 9))
    '2026/03-09/%width%'
    """
    for name in _DATES:
        value = getattr(now, name)
        prefix = prefix.replace(f"%{name}%", str(value) if name == "year" else f"{value:02}")
    return prefix


def check_prefix(prefix: str) -> None:
    """Check that a save prefix cannot lead outside itself or to other jobs' documents.

    Raises:
        InvalidPrefix: If it is empty, absolute, ends in `/`, has an empty, `.` or `..` segment or
            a control character, is not valid Unicode, starts with `_jobs` or `_preview`, or is
            over `MAX_KEY_BYTES`.
    """
    _check(
        InvalidPrefix,
        f"save prefix {prefix!r}",
        prefix,
        (prefix.startswith("/"), "begins with '/'; remove it"),
        (prefix.endswith("/"), "ends in '/'; remove it"),
        ("" in prefix.split("/"), "has an empty segment ('//')"),
        (
            prefix.startswith((JOBS, PREVIEWS)),
            f"starts with {JOBS} or {PREVIEWS}, which are reserved for jobs' own documents",
        ),
    )


def check_image_key(image_key: str) -> None:
    """Check that an output key can be derived from an image key.

    Empty segments (`a//b`) are legal in a bucket and are accepted.

    Raises:
        InvalidKey: If it is empty, ends in `/` (a folder), has a `.` or `..` segment or a control
            character, is not valid Unicode, or is over `MAX_KEY_BYTES`.
    """
    is_folder = (image_key.endswith("/"), "ends in '/': it is a folder")
    _check(InvalidKey, f"image key {image_key!r}", image_key, is_folder)


def results_key(job_id: str) -> str:
    """Return the key of a job's records, one JSON object per line."""
    return f"{JOBS}/{job_id}/results.jsonl"


def report_key(job_id: str) -> str:
    """Return the key of a job's report page."""
    return f"{JOBS}/{job_id}/report.html"


def shard_folder(job_id: str) -> str:
    """Return the prefix of all shards of a job."""
    return f"{JOBS}/{job_id}/shards/"


def shard_key(job_id: str, unit: str, epoch: int) -> str:
    """Return the key of the records of a range (*unit*), written for one epoch of its ticket."""
    return f"{shard_folder(job_id)}{unit}.{epoch}.jsonl"


def manifest_key(job_id: str, chunk: int) -> str:
    """Return the key of a manifest chunk that is not in Redis; *job_id* may be a nonce."""
    return f"{JOBS}/{job_id}/manifest/{chunk:07}.json.z"


def asset_folder(job_id: str) -> str:
    """Return the prefix of the images that a job's recipes name."""
    return f"{JOBS}/{job_id}/assets/"


def asset_key(job_id: str, sha256: str) -> str:
    """Return the key of a job's copy of an image with this SHA-256, in hex digits."""
    return f"{asset_folder(job_id)}{sha256}"


def _check(error: type[RmbgError], name: str, key: str, *further: tuple[bool, str]) -> None:
    """Raise *error*, saying what is wrong, if *key* cannot be part of an object's key.

    Args:
        error: Class of the error.
        name: The key with its description, for the message.
        key: The key.
        further: Conditions to test after the general ones, each with its description.
    """
    size_bytes = len(key.encode("utf-8", "surrogatepass"))
    checks = (
        (_SURROGATE.search(key), "is not valid Unicode"),
        (not key, "is empty"),
        (_CONTROL.search(key), "has a control character"),
        ({".", ".."} & set(key.split("/")), "has a '.' or '..' segment"),
        (size_bytes > MAX_KEY_BYTES, f"is {size_bytes} bytes long; the limit is {MAX_KEY_BYTES}"),
        *further,
    )
    for is_wrong, fault in checks:
        if is_wrong:
            raise error(f"{name} {fault}")
