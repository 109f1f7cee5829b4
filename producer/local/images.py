"""Find the images in a folder and upload them to a bucket."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from producer.bounded import each
from shared.errors import InvalidKey, InvalidOption
from shared.filenames import Others, is_image
from shared.objects import ObjectStore

UPLOADS: Final = 8
"""Uploads at the same time; each holds one file in memory."""


@dataclass(frozen=True)
class Folder:
    """The images below a folder, or some files, in the order of their keys."""

    root: Path
    keys: tuple[str, ...]
    """Paths below `root`, separated by `/`, or names of `named` files."""
    others: Others = field(default_factory=Others)
    """The other files."""
    skipped: tuple[str, ...] = ()
    """Paths with the reason why they were skipped: folders that were not entered, and names of
    images that are no readable files."""
    named: Mapping[str, Path] = field(default_factory=dict)
    """Files that were given one by one, by key; they need not be below `root`."""

    def path(self, key: str) -> Path:
        """Return the path of the image *key*."""
        return self.named.get(key) or self.root / key


@dataclass(frozen=True)
class Uploaded:
    """Result of an upload."""

    digest: str
    """Hash of all names and bytes; it identifies the set of images."""
    unread: tuple[str, ...]
    """Files that could not be read, with the reason."""


def scan(root: Path, *, without: Path) -> Folder:
    """Return the images below *root*, found by extension; do not enter the folder *without*.

    Only files and links to files are used, as reading a pipe would block. Links to folders are
    not followed, as they may form a cycle.
    """
    keys: list[str] = []
    skipped: list[str] = []
    others = Others()
    for path in _files(root, os.path.realpath(without), skipped):
        key = path.relative_to(root).as_posix()
        if not is_image(key):
            others.add(key)
        elif os.path.isfile(path):  # noqa: PTH113 - `Path.is_file` raises if access is denied
            keys.append(key)
        else:
            skipped.append(f"{key} (not a readable file)")
    return Folder(root, tuple(sorted(keys)), others, tuple(sorted(skipped)))


def select(paths: Sequence[Path], *, without: Path) -> Folder:
    """Return the images of one folder, as `scan` does, or the files that are given one by one.

    A file that is given is used whatever its extension: only the worker knows what the bytes are.

    Raises:
        InvalidOption: If a folder and another path are given, or two files have the same name.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return scan(paths[0], without=without)
    named: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            raise InvalidOption(f"{path} is a folder; give one folder, or files only")
        if path.name in named:
            raise InvalidOption(
                f"{named[path.name]} and {path} have the same name; rename one of them, or give"
                " the folder that holds both"
            )
        named[path.name] = path
    return Folder(Path(), tuple(sorted(named)), named=named)


def upload(folder: Folder, objects: ObjectStore, bucket: str) -> Uploaded:
    """Upload every image that the bucket does not hold yet with the same bytes.

    All files are read, as a changed image may have the length and the time of the earlier one.
    A file whose name is no valid key is left out, and its item fails with the reason. A file
    that cannot be read is deleted from the bucket, so that its item fails with `ObjectMissing`
    and an earlier image is not used in its place.

    Raises:
        StoreUnavailable: If the object store does not answer.
    """
    uploaded = {found.key: found.etag for found in objects.list(bucket, "")}
    put = partial(_put, folder, objects, bucket, uploaded)
    digest = hashlib.sha256()
    unread: list[str] = []
    tried = each(put, folder.keys, threads=UPLOADS)
    for key, (md5, fault) in zip(folder.keys, tried, strict=True):
        digest.update(f"{key}\0{md5}\n".encode("utf-8", "surrogateescape"))
        if fault is not None:
            unread.append(f"{key} ({fault})")
    return Uploaded(digest.hexdigest(), tuple(unread))


def _put(
    folder: Folder, objects: ObjectStore, bucket: str, uploaded: dict[str, str], key: str
) -> tuple[str, str | None]:
    """Upload one image; return its MD5, and the reason if it cannot be read, else None."""
    try:
        data = folder.path(key).read_bytes()
    except OSError as err:
        if key in uploaded:
            objects.delete(bucket, [key])
        return "", err.strerror or str(err)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    # The embedded server's ETag of an object is its MD5, unless it was a multipart upload.
    if md5 != uploaded.get(key):
        with suppress(InvalidKey):
            objects.put(bucket, key, data, content_type="application/octet-stream")
    return md5, None


def _files(root: Path, without: str, skipped: list[str]) -> Iterator[Path]:
    """Yield every path that is no folder; add folders that are not entered to *skipped*."""

    def skip(path: Path, reason: str) -> None:
        skipped.append(f"{path.relative_to(root).as_posix()} ({reason})")

    def unread(err: OSError) -> None:
        skip(Path(err.filename), err.strerror or str(err))

    for folder, names, files in os.walk(root, onerror=unread):
        here = Path(folder)
        names[:] = [name for name in sorted(names) if os.path.realpath(here / name) != without]
        for name in names:
            if os.path.islink(here / name):  # noqa: PTH114 - as above
                skip(here / name, "a link to a folder")
        yield from (here / name for name in sorted(files))
