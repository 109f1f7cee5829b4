"""Where image keys come from: a bucket prefix, a file or a stream, one key at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Protocol

from shared.errors import InvalidOption, NoKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shared.objects import ObjectStore

PICTURE_EXTENSIONS: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe"}
    | {".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""What counts as a picture when a prefix or a folder is listed, in any case of letters.

Keys that are named one by one are taken as they are: only the worker knows what the bytes are.
"""
_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_MAX_LINE_BYTES: Final = 4096
"""Longer than any S3 key (1,024 bytes) by far: such a file is no list of keys."""


class Source(Protocol):
    """Image keys in a settled order, and what to say if there are none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the keys one by one, without ever holding all of them."""
        ...

    def emptiness(self) -> str:
        """After a walk that yielded nothing: say what was looked at, in one line."""
        ...


def is_picture(name: str) -> bool:
    """Return whether the extension of *name* is one of `PICTURE_EXTENSIONS`."""
    dot = name.rfind(".")
    return dot > name.rfind("/") and name[dot:].lower() in PICTURE_EXTENSIONS


def parse_prefix(url: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix/` into bucket and prefix; the prefix may be empty.

    Raises:
        InvalidOption: If *url* is not of that form.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidOption(f"--prefix {url!r} is not of the form s3://bucket/prefix/")
    return found[1], found[2] or ""


@dataclass
class PrefixSource:
    """The pictures under a prefix, in key order; one walk costs a request per 1,000 objects.

    The job's own outputs are passed over (they may lie under the prefix), and so is everything
    under `_jobs/` and `_preview/`.
    """

    store: ObjectStore
    bucket: str
    prefix: str
    is_own: Callable[[str], bool]
    """Whether a key is one this job, or an earlier one like it, wrote."""
    listed: int = field(default=0, init=False)
    """Objects seen by the latest walk."""
    others: int = field(default=0, init=False)
    """Objects of the latest walk that are no pictures by their extension."""
    own: int = field(default=0, init=False)
    """Objects of the latest walk that are outputs or job documents."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        self.listed = self.others = self.own = 0
        for found in self.store.list(self.bucket, self.prefix):
            self.listed += 1
            if self.is_own(found.key):
                self.own += 1
            elif is_picture(found.key):
                yield found.key
            else:
                self.others += 1

    def emptiness(self) -> str:
        """See `Source.emptiness`."""
        return (
            f"no pictures under s3://{self.bucket}/{self.prefix}: {self.listed} objects listed, "
            f"{self.others} of them not pictures by extension, {self.own} outputs or job documents"
        )


@dataclass
class LineSource:
    """Keys from a file or a stream: UTF-8, one a line, blank lines ignored.

    Only the line's end is cut off, since a key may begin or end with a space. A stream is walked
    once.
    """

    stream: IO[bytes]
    name: str
    """What it is called in messages: the file's path, or `standard input`."""
    lines: int = field(default=0, init=False)
    """Lines read so far."""

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`.

        Raises:
            InvalidOption: If a line is not UTF-8, or far too long for a key; it is named.
        """
        while line := self.stream.readline(_MAX_LINE_BYTES):
            self.lines += 1
            key = self._decode(line)
            if key.strip():
                yield key

    def _decode(self, line: bytes) -> str:
        if len(line) == _MAX_LINE_BYTES:
            raise InvalidOption(
                f"{self.name}, line {self.lines}: over {_MAX_LINE_BYTES} bytes; one key a line"
            )
        try:
            text = line.decode("utf-8-sig" if self.lines == 1 else "utf-8")
        except UnicodeDecodeError as err:
            raise InvalidOption(
                f"{self.name}, line {self.lines} is not UTF-8: {err.reason}"
            ) from err
        return text.rstrip("\r\n")

    def emptiness(self) -> str:
        """See `Source.emptiness`."""
        return f"no keys in {self.name}: {self.lines} lines read, all blank"


@dataclass(frozen=True)
class KeySource:
    """Keys that a program hands over; the iterable is walked once."""

    keys: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`."""
        return iter(self.keys)

    def emptiness(self) -> str:
        """See `Source.emptiness`."""
        return "no keys were given"


def at_least_one(source: Source) -> Iterator[str]:
    """Yield the keys of *source*.

    Raises:
        NoKeys: At the end, if there was none; the message says what was looked at.
    """
    empty = True
    for key in source:
        empty = False
        yield key
    if empty:
        raise NoKeys(source.emptiness())
