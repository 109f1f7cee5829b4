"""Sources of image keys: a bucket prefix, a file or stream of lines, or an iterable."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Protocol

from producer.streams import printable
from shared.errors import InvalidOption

if TYPE_CHECKING:
    from shared.objects import ObjectStore

IMAGE_EXTENSIONS: Final = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs"}
    | {".hif", ".jfi", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".jps", ".mpo", ".pjp", ".pjpeg"}
    | {".png", ".pns", ".tif", ".tiff", ".webp"}
)
"""Extensions of images when a prefix or a folder is listed; case does not matter.

Keys that are given one by one are not filtered: only the worker knows what the bytes are.
"""
_SYSTEM_NAMES: Final = re.compile(
    r"""
    \._.*                                 # macOS: attributes of the file without "._"
    | __macosx | \.appledouble | \.ds_store | \.trashes | \.spotlight-v100 | \.fseventsd
    | \.temporaryitems | \.documentrevisions-v100
    | thumbs\.db | ehthumbs(_vista)?\.db | desktop\.ini | \$recycle\.bin   # Windows
    | system\ volume\ information
    | @eadir | \#recycle | \#snapshot | @tmp                                # Synology
    | \.@__thumb | @recycle | @recently-snapshot                            # QNAP
    | \.thumbnails | \.trash(-[0-9]+)? | lost\+found                         # Linux
    | \.stversions | \.dropbox\.cache | \.snapshots?                         # Syncthing, others
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Names of files and folders that systems create beside a user's images: previews, attributes,
deleted files and old versions. They may have the extension of an image."""
_SYSTEM: Final = "/"
"""Stands for the extension of all files of systems."""
_NAMED: Final = 5
"""Most files that `Others` names; it counts all of them."""
_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_MAX_LINE_BYTES: Final = 4096
"""Far more than the longest S3 key (1,024 bytes): such a file is not a list of keys."""


class Source(Protocol):
    """Image keys in a fixed order, and the error message if there are none."""

    def __iter__(self) -> Iterator[str]:
        """Yield the keys one by one, without holding all of them in memory."""

    def describe_empty(self) -> str:
        """Return what was read, in one line; called after an iteration without keys."""


def is_image(key: str) -> bool:
    """Return whether *key* has one of `IMAGE_EXTENSIONS` and is no file of a system's own."""
    return _extension(key) in IMAGE_EXTENSIONS and not _is_of_a_system(key)


def _extension(key: str) -> str:
    dot = key.rfind(".")
    return key[dot:].lower() if dot > key.rfind("/") else ""


def _is_of_a_system(key: str) -> bool:
    return any(map(_SYSTEM_NAMES.fullmatch, key.split("/")))


@dataclass
class Others:
    """The files that are no images: their number, and the names of some, of all kinds."""

    count: int = 0
    _names: dict[str, list[str]] = field(default_factory=dict)
    """For each extension, the first names; files of systems are a kind of their own."""

    def add(self, key: str) -> None:
        """Count a file."""
        self.count += 1
        kind = _SYSTEM if _is_of_a_system(key) else _extension(key)
        if kind in self._names or len(self._names) <= _NAMED:
            names = self._names.setdefault(kind, [])
            if len(names) < _NAMED:
                names.append(key)

    def describe(self, fate: str = "") -> str:
        """Return the number and some names, such as `2 other files ignored: a.txt, b.psd`.

        One name for each extension comes first, and those of system files come last.

        Args:
            fate: What happened to the files.
        """
        text = f"{self.count} other file{'' if self.count == 1 else 's'}{fate and f' {fate}'}"
        if not self.count:
            return text
        kinds = [names for kind, names in self._names.items() if kind != _SYSTEM]
        found = [name for row in itertools.zip_longest(*kinds) for name in row if name]
        named = [*found, *self._names.get(_SYSTEM, [])][:_NAMED]
        return f"{text}: {', '.join(map(printable, named))}{', ...' * (self.count > _NAMED)}"


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
