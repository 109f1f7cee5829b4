"""From a folder to a bucket: which files are pictures, and how they get there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer.sources import is_picture
from shared.errors import InvalidKey
from shared.objects import ObjectStore

UPLOADS: Final = 8
"""Uploads at a time; each holds one file in memory."""


@dataclass(frozen=True)
class Folder:
    """The pictures below a folder, in the order of their keys."""

    root: Path
    keys: tuple[str, ...]
    """Paths below *root* with `/` between the parts."""
    ignored: int
    """Other files, which are left alone."""

    def digest(self) -> str:
        """Hash names, sizes and times of change: another digest means other pictures."""
        digest = hashlib.sha256()
        for key in self.keys:
            stat = (self.root / key).stat()
            line = f"{key}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def scan(root: Path, *, without: Path) -> Folder:
    """Return the pictures below *root*, known by their extension; *without* is not entered."""
    keys: list[str] = []
    ignored = 0
    for path in _files(root, without.resolve()):
        if is_picture(path.name):
            keys.append(path.relative_to(root).as_posix())
        else:
            ignored += 1
    return Folder(root, tuple(sorted(keys)), ignored)


def upload(folder: Folder, objects: ObjectStore, bucket: str) -> None:
    """Put every picture that is not there in this size yet; a repetition goes on from there.

    A file whose name no bucket takes is left out; its item fails with the reason.

    Raises:
        StoreUnavailable: If the store cannot be asked.
    """
    there = {found.key: found.size_bytes for found in objects.list(bucket, "")}
    missing = [key for key in folder.keys if there.get(key) != (folder.root / key).stat().st_size]
    with ThreadPoolExecutor(UPLOADS) as pool:
        for _ in pool.map(lambda key: _put(folder.root, objects, bucket, key), missing):
            pass


def _put(root: Path, objects: ObjectStore, bucket: str, key: str) -> None:
    data = (root / key).read_bytes()
    try:
        objects.put(bucket, key, data, content_type="application/octet-stream")
    except InvalidKey:
        return


def _files(root: Path, without: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = [name for name in names if (here / name).resolve() != without]
        yield from (here / name for name in files)
