"""Download the outputs of a job to a folder, and go on where an earlier call ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from producer.bounded import each
from producer.results import reader
from producer.results.archive import ArchiveFile, files_of
from producer.services import Services
from shared.errors import ObjectMissing
from shared.files import write_whole

MISSING: Final = "MISSING.txt"
"""File that names the objects that are not there any more."""
_THREADS: Final = 8


class _Fate(Enum):
    DOWNLOADED = "downloaded"
    KEPT = "kept"
    MISSING = "missing"


@dataclass(frozen=True)
class Downloaded:
    """What a call has done."""

    downloaded: int
    kept: int
    """Files that were there before."""
    missing: Sequence[ArchiveFile]


def download_job(services: Services, job_id: str, folder: Path, output: str | None) -> Downloaded:
    """Download the files of a job's images that have ended.

    A file appears when it is whole, so one that is there with the size of the record is kept.

    Args:
        services: The services that hold the job.
        job_id: The job.
        folder: Where to write; created if missing.
        output: One output; None: all.

    Raises:
        UnknownJob: If Redis does not know the job.
        InvalidOption: If the job has no such output, or a file cannot be written.
        StoreUnavailable: If the object store is unavailable; the same call goes on.
    """
    spec = services.jobs.queries.spec(job_id)

    def size_of(file: ArchiveFile) -> int | None:
        if file.size_bytes is not None:
            return file.size_bytes
        found = services.objects.head(spec.output_bucket, file.key)
        return None if found is None else found.size_bytes

    def fetch(file: ArchiveFile) -> tuple[ArchiveFile, _Fate]:
        path = folder / file.path
        if (size_bytes := _size(path)) is not None and size_bytes == size_of(file):
            return file, _Fate.KEPT
        try:
            data = services.objects.get(spec.output_bucket, file.key).data
        except ObjectMissing:
            return file, _Fate.MISSING
        write_whole(path, [data])
        return file, _Fate.DOWNLOADED

    counts, missing = dict.fromkeys(_Fate, 0), []
    files = files_of(spec, job_id, reader.records(services, job_id), output)
    for file, fate in each(fetch, files, threads=_THREADS):
        counts[fate] += 1
        if fate is _Fate.MISSING:
            missing.append(file)
    _note(folder / MISSING, missing)
    return Downloaded(counts[_Fate.DOWNLOADED], counts[_Fate.KEPT], missing)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _note(path: Path, missing: Sequence[ArchiveFile]) -> None:
    """Name the *missing* files, or delete the note of an earlier call."""
    if not missing:
        path.unlink(missing_ok=True)
        return
    lines = (f"{file.index}\t{file.path}\t{file.key}\n" for file in missing)
    write_whole(path, (line.encode("utf-8", "backslashreplace") for line in lines))
