"""Sources of image keys: a bucket prefix or an iterable; `lines` has files and streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from shared.errors import InvalidOption
from shared.filenames import Others, is_image

if TYPE_CHECKING:
    from shared.objects import ObjectStore

_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^\ud800-\udfff]*))?")
OBJECT_URL: Final = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL | re.IGNORECASE)


class Source(Protocol):
    """Image keys in a fixed order, and the error message if there are none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the keys one by one, without holding all of them in memory."""

    def describe_empty(self) -> str:
        """Return what was read, in one line; called after an iteration without keys."""

    def remark(self) -> str | None:
        """Return what the user should know of the keys; called after an iteration."""


def parse_prefix(url: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix/` into bucket and prefix; the prefix may be empty.

    Raises:
        InvalidOption: If *url* does not have this form, or is not valid Unicode.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidOption(f"invalid --prefix {url!r}; use the form s3://bucket/prefix/")
    return found[1], found[2] or ""


def object_key(given: str, bucket: str) -> str:
    """Return the key of an object in *bucket* that is given as a key or as `s3://bucket/key`.

    Raises:
        InvalidOption: If it is the URL of another bucket, or has no key.
    """
    if given[:5].lower() != "s3://":
        return given
    found = OBJECT_URL.fullmatch(given)
    if found is None:
        raise InvalidOption(f"{given!r} has no key; use the form s3://bucket/key")
    if found[1] != bucket:
        raise InvalidOption(
            f"{given!r} is not in the job's input bucket {bucket}; submit one job for each bucket"
        )
    return found[2]


@dataclass
class PrefixSource:
    """The images under a prefix, in the store's order; one request per 1,000 objects.

    Skips the job's own outputs, which may be under the prefix, and everything under `_jobs/` and
    `_preview/`.
    """

    store: ObjectStore
    bucket: str
    prefix: str
    is_own: Callable[[str], bool]
    """Return whether a key is an output of this job or of an earlier one like it."""
    listed: int = field(default=0, init=False)
    """Objects listed so far."""
    others: Others = field(default_factory=Others, init=False)
    """Listed objects that are no images."""
    own: int = field(default=0, init=False)
    """Listed objects that are outputs or job documents."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            StoreUnavailable: If the object store is unavailable.
            BucketUnavailable: If the bucket is missing or access is denied.
        """
        folder = self.prefix.rfind("/") + 1  # names in the prefix are the user's choice
        for found in self.store.list(self.bucket, self.prefix):
            self.listed += 1
            if self.is_own(found.key):
                self.own += 1
            elif is_image(found.key[folder:]):
                yield found.key
            else:
                self.others.add(found.key)

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return (
            f"no images under s3://{self.bucket}/{self.prefix}; objects listed: {self.listed} "
            f"(outputs or job documents: {self.own}, {self.others.describe()})"
        )

    def remark(self) -> str | None:
        """See `Source.remark`."""
        return self.others.describe("ignored") if self.others.count else None


@dataclass(frozen=True)
class KeySource:
    """Keys from an iterable, which is read once."""

    keys: Iterable[str]
    bucket: str | None = None
    """The job's input bucket; URLs `s3://bucket/key` of it are accepted as well. None: only keys
    are given."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            InvalidOption: If a key is the URL of another bucket.
        """
        bucket = self.bucket
        if bucket is None:
            return iter(self.keys)
        return (object_key(key, bucket) for key in self.keys)

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return "no image keys given"

    def remark(self) -> None:
        """See `Source.remark`."""
