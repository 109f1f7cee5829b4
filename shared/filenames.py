"""Tell images from other files by their names, where a folder or a prefix is listed."""

import itertools
import re
from dataclasses import dataclass, field
from typing import Final

from shared.streams import printable

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
