"""Sources of image keys: a bucket prefix, a file or stream of lines, or an iterable."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Protocol

from producer.submission.filenames import Others, is_image
from shared.errors import InvalidOption
from shared.streams import printable

if TYPE_CHECKING:
    from shared.objects import ObjectStore

_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^\ud800-\udfff]*))?")
_OBJECT_URL: Final = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL | re.IGNORECASE)
_NO_KEY: Final = re.compile(
    r"""
    [a-z][a-z0-9+.-]*://                                      # a URL
    | \.{0,2}/ | ~/ | [a-z]:\\                                # a path on this machine
    | [0-9]{4}-[0-9]{2}-[0-9]{2}\ [0-9]{2}:[0-9]{2}:[0-9]{2}\s+[0-9]+\ # a line of `aws s3 ls`
    | ["'\[{]                                                 # JSON, or quoted
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""The start of lines that are legal as keys and most probably none."""
_MAX_LINE_BYTES: Final = 4096
"""Far more than the longest S3 key (1,024 bytes): such a file is not a list of keys."""


class Source(Protocol):
    """Image keys in a fixed order, and the error message if there are none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the keys one by one, without holding all of them in memory."""

    def describe_empty(self) -> str:
        """Return what was read, in one line; called after an iteration without keys."""

    def remark(self) -> str | None:
        """Return what the user should know of the keys, in one line; called after an iteration."""


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
    found = _OBJECT_URL.fullmatch(given)
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


@dataclass
class LineSource:
    """Keys from a file or stream: UTF-8, one per line; blank lines are ignored.

    Only the line break is removed, since a key may begin or end with a space. A line may also be
    the URL `s3://bucket/key` of an object in the job's input bucket. The stream is read once.
    """

    stream: IO[bytes]
    name: str
    """Name in messages: the path of the file, or `standard input`."""
    bucket: str | None = None
    """The job's input bucket; set before an iteration."""
    lines: int = field(default=0, init=False)
    """Lines read so far."""
    doubtful: int = field(default=0, init=False)
    """Lines that are most probably no keys."""
    _first_doubt: str = field(default="", init=False)
    _peeked: str | None = field(default=None, init=False)

    def first_bucket(self) -> str | None:
        """Return the bucket of the first key if that is a URL; it is read again by an iteration."""
        self._peeked = next(self._keys(), None)
        found = _OBJECT_URL.fullmatch(self._peeked or "")
        return found[1] if found else None

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            InvalidOption: If a line is not UTF-8, is 4,096 bytes or longer, or is the URL of
                another bucket; names the line.
        """
        peeked = () if self._peeked is None else (self._peeked,)
        for given in itertools.chain(peeked, self._keys()):
            try:
                key = given if self.bucket is None else object_key(given, self.bucket)
            except InvalidOption as err:
                raise InvalidOption(f"{self._position()}: {err}") from err
            if _NO_KEY.match(key):
                self._first_doubt = self._first_doubt or f"line {self.lines}: {printable(key)}"
                self.doubtful += 1
            yield key

    def _keys(self) -> Iterator[str]:
        while line := self.stream.readline(_MAX_LINE_BYTES):
            self.lines += 1
            key = self._decode(line)
            if key.strip():
                yield key

    def _position(self) -> str:
        return f"{self.name}, line {self.lines}"

    def _decode(self, line: bytes) -> str:
        if len(line) == _MAX_LINE_BYTES:
            raise InvalidOption(
                f"{self._position()}: {_MAX_LINE_BYTES} bytes or more; write one key per line"
            )
        try:
            text = line.decode("utf-8-sig" if self.lines == 1 else "utf-8")
        except UnicodeDecodeError as err:
            raise InvalidOption(f"{self._position()}: not valid UTF-8: {err.reason}") from err
        return text.rstrip("\r\n")

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return f"no image keys in {self.name}; blank lines read: {self.lines}"

    def remark(self) -> str | None:
        """See `Source.remark`."""
        if not self.doubtful:
            return None
        return (
            f"warning: lines of {self.name} that are probably no keys: {self.doubtful} "
            f"({self._first_doubt}); a key is the path of an object within its bucket"
        )


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
