"""Image keys from the lines of a file or stream."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from producer.submission.sources import OBJECT_URL, object_key
from shared.errors import InvalidOption
from shared.streams import printable

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


@dataclass
class _Lines:
    """Lines of one kind: their number, and the first one."""

    count: int = 0
    _first: str = ""

    def add(self, number: int, key: str) -> None:
        if not self.count:
            shown = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            self._first = f"line {number}: {printable(shown)}"
        self.count += 1

    def __str__(self) -> str:
        return f"{self.count} ({self._first})"


def _is_unicode(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class LineSource:
    """Keys from a file or stream: UTF-8, one per line; blank lines are ignored.

    Only the line break is removed, since a key may begin or end with a space. A line may also be
    the URL `s3://bucket/key` of an object in the job's input bucket. The stream is read once. A
    line that is not UTF-8 is a key like a file name that is not: its item fails.
    """

    stream: IO[bytes]
    name: str
    """Name in messages: the path of the file, or `standard input`."""
    bucket: str | None = None
    """The job's input bucket; set before an iteration."""
    lines: int = field(default=0, init=False)
    """Lines read so far."""
    _doubts: _Lines = field(default_factory=_Lines, init=False)
    """Lines that are most probably no keys."""
    _invalid: _Lines = field(default_factory=_Lines, init=False)
    """Lines that are not UTF-8."""
    _peeked: str | None = field(default=None, init=False)

    def first_bucket(self) -> str | None:
        """Return the bucket of the first key if that is a URL; it is read again by an iteration."""
        self._peeked = next(self._keys(), None)
        found = OBJECT_URL.fullmatch(self._peeked or "")
        return found[1] if found else None

    def __iter__(self) -> Iterator[str]:
        """See `sources.Source.__iter__`.

        Raises:
            InvalidOption: If a line holds a zero byte, is 4,096 bytes or longer, or is the URL of
                another bucket; names the line.
        """
        peeked = () if self._peeked is None else (self._peeked,)
        for given in itertools.chain(peeked, self._keys()):
            try:
                key = given if self.bucket is None else object_key(given, self.bucket)
            except InvalidOption as err:
                raise InvalidOption(f"{self._position()}: {err}") from err
            if not _is_unicode(key):
                self._invalid.add(self.lines, key)
            elif _NO_KEY.match(key):
                self._doubts.add(self.lines, key)
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
        if b"\0" in line:
            raise InvalidOption(
                f"{self._position()}: holds a zero byte; write keys as text in UTF-8, one per line"
            )
        encoding = "utf-8-sig" if self.lines == 1 else "utf-8"
        return line.decode(encoding, "surrogateescape").rstrip("\r\n")

    def describe_empty(self) -> str:
        """See `sources.Source.describe_empty`."""
        return f"no image keys in {self.name}; blank lines read: {self.lines}"

    def remark(self) -> str | None:
        """See `sources.Source.remark`."""
        remarks = []
        if self._invalid.count:
            remarks.append(
                f"warning: lines of {self.name} that are not UTF-8: {self._invalid}; "
                "these images fail with InvalidKey"
            )
        if self._doubts.count:
            remarks.append(
                f"warning: lines of {self.name} that are probably no keys: {self._doubts}; "
                "a key is the path of an object within its bucket"
            )
        return "\n".join(remarks) or None
