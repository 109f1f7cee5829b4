"""Image keys that the body of a request names: in it, below a prefix, or in an object."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Final

from producer.gateway.schemas import JobRequest
from producer.gateway.tenancy import is_below, own_keys, save_prefix
from producer.services import Services
from producer.submission.sources import KeySource, Source
from producer.submission.submit import list_prefix
from shared.access import ApiKey
from shared.errors import InvalidOption, ObjectMissing
from shared.job.spec import JobSpec
from shared.objects import ObjectStore

MAX_LIST_BYTES: Final = 512 * 2**20
"""Largest object that lists image keys."""
LONG_KEYS: Final = 10_000
"""A list with more keys is long: a caller does not wait until all of them are read."""
LONG_LIST_BYTES: Final = 2**20
"""So is one in an object with more bytes."""
_SPOOL_BYTES: Final = 8 * 2**20


def source_of(services: Services, key: ApiKey, wanted: JobRequest, spec: JobSpec) -> Source:
    """Return the image keys of a request.

    Raises:
        InvalidOption: If the prefix is not below that of *key*; for other keys when they are read.
    """
    if wanted.keys is not None:
        return KeySource(own_keys(key, wanted.keys))
    if wanted.prefix is not None:
        _check_below(key, "prefix", wanted.prefix)
        url, own = f"s3://{key.bucket}/{wanted.prefix}", save_prefix(key, wanted.save_prefix)
        return list_prefix(services, url, spec, own)
    return KeySource(own_keys(key, _listed(services, key, wanted.keys_from or "")))


def is_long(objects: ObjectStore, key: ApiKey, wanted: JobRequest) -> bool:
    """Return whether a request names so many images that its caller should not wait.

    Raises:
        InvalidOption: If a key in the body, the prefix or the object is not below the prefix of
            *key*, or there is no such object.
    """
    if wanted.keys is not None:
        return sum(1 for _ in own_keys(key, wanted.keys)) > LONG_KEYS
    if wanted.prefix is not None:
        _check_below(key, "prefix", wanted.prefix)
        found = objects.list(key.bucket, wanted.prefix)
        return next(islice(found, LONG_KEYS, None), None) is not None
    given = wanted.keys_from or ""
    _check_below(key, "keys_from", given)
    info = objects.head(key.bucket, given)
    if info is None:
        raise _missing(given)
    if info.size_bytes > MAX_LIST_BYTES:
        raise InvalidOption(
            f"keys_from {given!r} has {info.size_bytes:,} bytes and may have {MAX_LIST_BYTES:,}; "
            "submit several lists"
        )
    return info.size_bytes > LONG_LIST_BYTES


def _check_below(key: ApiKey, field: str, given: str) -> None:
    if not is_below(key, given):
        raise InvalidOption(f"{field} {given!r} is not below {key.prefix}/")


def _missing(object_key: str) -> InvalidOption:
    return InvalidOption(f"keys_from {object_key!r} does not exist")


def _listed(services: Services, key: ApiKey, object_key: str) -> Iterator[str]:
    """Yield the image keys that an object in the bucket lists."""
    _check_below(key, "keys_from", object_key)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        try:
            services.objects.download(key.bucket, object_key, spool)
        except ObjectMissing as err:
            raise _missing(object_key) from err
        spool.seek(0)
        yield from keys_in(spool)


def keys_in(file: IO[bytes]) -> Iterator[str]:
    """Yield the image keys in CSV with a column `key`, or in JSON lines with a field `key`.

    Raises:
        InvalidOption: If the text is not UTF-8, or a row has no key; names the line.
    """
    lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        first = lines.readline()
        rest = iter(lines)
        yield from _json_keys(first, rest) if first.startswith("{") else _csv_keys(first, rest)
    except UnicodeDecodeError as err:
        raise InvalidOption("keys_from is not UTF-8 text") from err
    finally:
        lines.detach()


def _json_keys(first: str, rest: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate((first, *()), 1):
        yield _json_key(number, line)
    for number, line in enumerate(rest, 2):
        if line.strip():
            yield _json_key(number, line)


def _json_key(number: int, line: str) -> str:
    try:
        key = json.loads(line)["key"]
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidOption(f"keys_from, line {number}: not an object with a field key") from err
    if not isinstance(key, str):
        raise InvalidOption(f"keys_from, line {number}: key is not a text")
    return key


def _csv_keys(first: str, rest: Iterable[str]) -> Iterator[str]:
    columns = next(csv.reader([first]), [])
    if "key" not in columns:
        raise InvalidOption("keys_from has no column key; its first line must name the columns")
    place = columns.index("key")
    for number, row in enumerate(csv.reader(rest), 2):
        if not row:
            continue
        if len(row) <= place or not row[place]:
            raise InvalidOption(f"keys_from, row {number}: the column key is empty")
        yield row[place]
