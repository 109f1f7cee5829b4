"""Send the files of a job as a ZIP whose length is known before its first byte."""

import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Final

from zipstream import ZipStream

from producer.bounded import each
from producer.gateway.problems import Problem
from producer.results.archive import ArchiveFile
from shared.errors import ObjectMissing
from shared.objects import ObjectStore

AHEAD: Final = 8
"""Objects that are read ahead."""
AT_ONCE: Final = 2
"""Archives that a key may read at once from a gateway."""
MISSING: Final = "MISSING.txt"
"""File of the archive that names the objects that are not there any more."""
RETRY_S: Final = 30
"""`Retry-After` of an archive too many, in seconds."""
_HEADS: Final = 8
_SPOOL_BYTES: Final = 2**20
"""Larger objects wait in a file."""
_PIECE_BYTES: Final = 2**18


@dataclass(frozen=True)
class _Found:
    """A file whose object is there."""

    file: ArchiveFile
    size_bytes: int


class Archive:
    """A ZIP of the files whose objects are there now."""

    def __init__(self, objects: ObjectStore, bucket: str, files: Sequence[ArchiveFile]) -> None:
        """Ask for the size of every object; a missing one is named in `MISSING`.

        Raises:
            StoreUnavailable: If the object store is unavailable.
        """
        self._objects = objects
        self._bucket = bucket
        heads = each(lambda file: objects.head(bucket, file.key), files, threads=_HEADS)
        sizes = [None if head is None else head.size_bytes for head in heads]
        pairs = list(zip(files, sizes, strict=True))
        self._found = [_Found(file, size) for file, size in pairs if size is not None]
        self._missing = [file for file, size in pairs if size is None]
        self._zip = ZipStream(sized=True)
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[IO[bytes]]] = deque()
        self._add()
        self.size_bytes: Final = len(self._zip)

    def body(self) -> Iterator[bytes]:
        """Yield the bytes of the archive.

        Raises:
            ObjectMissing: If an object has been deleted since: the archive is not whole.
            StoreUnavailable: If the object store is unavailable.
        """
        piece = bytearray()
        for data in self._zip:
            piece += data
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)

    def close(self) -> None:
        """Stop reading ahead, and forget what was read; a repetition changes nothing."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        while self._waiting:
            self._waiting.popleft().add_done_callback(_close)

    def _add(self) -> None:
        spools, seen = self._spools(), Counter[str]()
        for found in self._found:
            path = found.file.path
            seen[path] += 1
            name = path if seen[path] == 1 else f"{found.file.index}/{path}"
            self._zip.add(_data(spools, found), name, size=found.size_bytes)
        if self._missing:
            lines = "".join(f"{file.index}\t{file.path}\t{file.key}\n" for file in self._missing)
            self._zip.add(lines.encode("utf-8", "backslashreplace"), MISSING)

    def _spools(self) -> Iterator[IO[bytes]]:
        """Yield the bytes of the objects in their order; up to `AHEAD` are on their way."""
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="archive")
        for found in self._found:
            self._waiting.append(self._pool.submit(self._read, found))
            if len(self._waiting) == AHEAD:
                yield self._waiting.popleft().result()
        while self._waiting:
            yield self._waiting.popleft().result()
        self.close()

    def _read(self, found: _Found) -> IO[bytes]:
        spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - its reader closes it
        try:
            self._objects.download(self._bucket, found.file.key, spool)
        except BaseException:
            spool.close()
            raise
        if spool.tell() != found.size_bytes:
            spool.close()
            raise ObjectMissing(f"{found.file.key} has been replaced since the archive began")
        spool.seek(0)
        return spool


def _close(read: Future[IO[bytes]]) -> None:
    if not read.cancelled() and read.exception() is None:
        read.result().close()


def _data(spools: Iterator[IO[bytes]], _found: _Found) -> Iterator[bytes]:
    with next(spools) as spool:
        while data := spool.read(_PIECE_BYTES):
            yield data


class Readers:
    """Bounds the archives that a key reads at once; used from the event loop only."""

    def __init__(self) -> None:
        self._reading = Counter[str]()

    def enter(self, key_name: str) -> None:
        """Count one more archive of a key.

        Raises:
            Problem: If it reads as many as it may.
        """
        if self._reading[key_name] >= AT_ONCE:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-archives",
                f"this API key reads {AT_ONCE} archives already; read one after the other",
                {"Retry-After": str(RETRY_S)},
            )
        self._reading[key_name] += 1

    def leave(self, key_name: str) -> None:
        """Count one archive less."""
        self._reading[key_name] -= 1
        with suppress(KeyError):
            if not self._reading[key_name]:
                del self._reading[key_name]
