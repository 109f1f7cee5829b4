"""From a folder to a bucket: which files are pictures, and how they get there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from producer.bounded import each
from producer.submission.sources import is_image
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
    skipped: tuple[str, ...] = ()
    """What somebody may miss, each with the reason: pictures by name that are no files, folders
    that were not entered."""


@dataclass(frozen=True)
class Uploaded:
    """What became of a folder's pictures."""

    digest: str
    """Hash of all names and bytes: another one means other pictures."""
    unread: tuple[str, ...]
    """What could not be read, each with the reason."""


def scan(root: Path, *, without: Path) -> Folder:
    """Return the pictures below *root*, known by their extension; *without* is not entered.

    Only files count, and links to files: reading a pipe would wait for ever. Links to folders
    are not followed, as they may lead round in circles.
    """
    keys: list[str] = []
    skipped: list[str] = []
    ignored = 0
    for path in _files(root, without.resolve(), skipped):
        key = path.relative_to(root).as_posix()
        if not is_image(path.name):
            ignored += 1
        elif os.path.isfile(path):  # noqa: PTH113 - `Path.is_file` raises where it may not look
            keys.append(key)
        else:
            skipped.append(f"{key} (no file, or out of reach)")
    return Folder(root, tuple(sorted(keys)), ignored, tuple(sorted(skipped)))


def upload(folder: Folder, objects: ObjectStore, bucket: str) -> Uploaded:
    """Put every picture whose bytes are not there yet; a repetition goes on from there.

    All files are read: another picture may have the length and the time of the one before it.
    A file whose name no bucket takes is left out, and its item fails with the reason. One that
    cannot be read is taken out of the bucket, so that its item fails as `ObjectMissing` instead
    of passing off an earlier picture as this one.

    Raises:
        StoreUnavailable: If the store cannot be asked.
    """
    there = {found.key: found.etag for found in objects.list(bucket, "")}
    put = partial(_put, folder.root, objects, bucket, there)
    digest = hashlib.sha256()
    unread: list[str] = []
    tried = each(put, folder.keys, threads=UPLOADS)
    for key, (md5, fault) in zip(folder.keys, tried, strict=True):
        digest.update(f"{key}\0{md5}\n".encode("utf-8", "surrogateescape"))
        if fault is not None:
            unread.append(f"{key} ({fault})")
    return Uploaded(digest.hexdigest(), tuple(unread))


def _put(
    root: Path, objects: ObjectStore, bucket: str, there: dict[str, str], key: str
) -> tuple[str, str | None]:
    """Put one picture; return its MD5, and why it cannot be read or None."""
    try:
        data = (root / key).read_bytes()
    except OSError as err:
        if key in there:
            objects.delete(bucket, [key])
        return "", err.strerror or str(err)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    # The embedded server's ETag of an object that was put in one go.
    if md5 != there.get(key):
        with suppress(InvalidKey):
            objects.put(bucket, key, data, content_type="application/octet-stream")
    return md5, None


def _files(root: Path, without: Path, skipped: list[str]) -> Iterator[Path]:
    """Yield all that is no folder; add the folders that are not entered to *skipped*."""

    def miss(path: Path, reason: str) -> None:
        skipped.append(f"{path.relative_to(root).as_posix()} ({reason})")

    def unread(err: OSError) -> None:
        miss(Path(err.filename), err.strerror or str(err))

    for folder, names, files in os.walk(root, onerror=unread):
        here = Path(folder)
        names[:] = [name for name in names if (here / name).resolve() != without]
        for name in names:
            if os.path.islink(here / name):  # noqa: PTH114 - as above
                miss(here / name, "a link to a folder")
        yield from (here / name for name in files)
