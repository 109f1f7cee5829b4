"""Sources of image keys: a bucket prefix, a file or stream of lines, or an iterable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Protocol

from shared.errors import InvalidOption

if TYPE_CHECKING:
    from shared.objects import ObjectStore

IMAGE_EXTENSIONS: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe"}
    | {".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Extensions of images when a prefix or a folder is listed; case does not matter.

Keys that are given one by one are not filtered: only the worker knows what the bytes are.
"""
_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_MAX_LINE_BYTES: Final = 4096
"""Far more than the longest S3 key (1,024 bytes): such a file is not a list of keys."""


class Source(Protocol):
    """Image keys in a fixed order, and the error message if there are none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the keys one by one, without holding all of them in memory."""

    def describe_empty(self) -> str:
        """Return what was read, in one line; called after an iteration without keys."""


def is_image(name: str) -> bool:
    """Return whether the extension of *name* is one of `IMAGE_EXTENSIONS`."""
    dot = name.rfind(".")
    return dot > name.rfind("/") and name[dot:].lower() in IMAGE_EXTENSIONS


def parse_prefix(url: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix/` into bucket and prefix; the prefix may be empty.

    Raises:
        InvalidOption: If *url* does not have this form.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidOption(f"invalid --prefix {url!r}; use the form s3://bucket/prefix/")
    return found[1], found[2] or ""


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
    others: int = field(default=0, init=False)
    """Listed objects whose extension is not that of an image."""
    own: int = field(default=0, init=False)
    """Listed objects that are outputs or job documents."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            StoreUnavailable: If the object store is unavailable.
            BucketUnavailable: If the bucket is missing or access is denied.
        """
        for found in self.store.list(self.bucket, self.prefix):
            self.listed += 1
            if self.is_own(found.key):
                self.own += 1
            elif is_image(found.key):
                yield found.key
            else:
                self.others += 1

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return (
            f"no images under s3://{self.bucket}/{self.prefix}; objects listed: {self.listed} "
            f"(outputs or job documents: {self.own}, other file types: {self.others})"
        )


@dataclass
class LineSource:
    """Keys from a file or stream: UTF-8, one per line; blank lines are ignored.

    Only the line break is removed, since a key may begin or end with a space. The stream is read
    once.
    """

    stream: IO[bytes]
    name: str
    """Name in messages: the path of the file, or `standard input`."""
    lines: int = field(default=0, init=False)
    """Lines read so far."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            InvalidOption: If a line is not UTF-8 or is 4,096 bytes or longer; names the line.
        """
        while line := self.stream.readline(_MAX_LINE_BYTES):
            self.lines += 1
            key = self._decode(line)
            if key.strip():
                yield key

    def _decode(self, line: bytes) -> str:
        if len(line) == _MAX_LINE_BYTES:
            raise InvalidOption(
                f"{self.name}, line {self.lines}: {_MAX_LINE_BYTES} bytes or more; "
                "write one key per line"
            )
        try:
            text = line.decode("utf-8-sig" if self.lines == 1 else "utf-8")
        except UnicodeDecodeError as err:
            raise InvalidOption(
                f"{self.name}, line {self.lines}: not valid UTF-8: {err.reason}"
            ) from err
        return text.rstrip("\r\n")

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return f"no image keys in {self.name}; blank lines read: {self.lines}"


@dataclass(frozen=True)
class KeySource:
    """Keys from an iterable, which is read once."""

    keys: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`."""
        return iter(self.keys)

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return "no image keys given"
