"""The files of a job in the order of its images, and the parts that an archive has."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shared.errors import InvalidOption
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.written import written_objects

PART_FILES: Final = 10_000
"""Most files of a part."""
PART_BYTES: Final = 2_000_000_000
"""Most bytes of a part, by the sizes in the records; one larger file is a part of its own."""
_STEP: Final = re.compile(r"^\.+$|[\\\0]")
"""Parts of a path that lead out of a folder, or that some systems read as a separator."""


@dataclass(frozen=True)
class ArchiveFile:
    """A file of an image."""

    index: int
    key: str
    path: str
    """Relative path that stays below the folder it is joined to."""
    size_bytes: int | None
    """None if the record does not know it."""


@dataclass(frozen=True)
class Part:
    """One part of an archive."""

    files: tuple[ArchiveFile, ...]
    parts: int
    """Number of parts of the archive."""


def files_of(
    spec: JobSpec, job_id: str, records: Iterable[ItemRecord], output: str | None
) -> Iterator[ArchiveFile]:
    """Yield the files of *records*: those of one output, or of all.

    Raises:
        InvalidOption: At the call of `next`, if the job has no such output.
    """
    if output is not None and output not in (known := _outputs(spec)):
        raise InvalidOption(f"this job has no output {output!r}; outputs: {', '.join(known)}")
    for record in records:
        for each in written_objects(spec, job_id, record):
            if output in (None, each.output):
                yield ArchiveFile(record.index, each.key, safe_path(each.path), each.size_bytes)


def part_of(
    files: Iterable[ArchiveFile],
    number: int,
    *,
    most_files: int = PART_FILES,
    most_bytes: int = PART_BYTES,
) -> Part | None:
    """Return part *number* of an archive, counted from 1; None if there are fewer.

    The records alone decide which file is in which part, so that a part is always the same. An
    archive without files has one part.
    """
    kept: list[ArchiveFile] = []
    parts, held, size_bytes = 1, 0, 0
    for file in files:
        of_file = file.size_bytes or 0
        if held and (held == most_files or size_bytes + of_file > most_bytes):
            parts, held, size_bytes = parts + 1, 0, 0
        held, size_bytes = held + 1, size_bytes + of_file
        if parts == number:
            kept.append(file)
    return Part(tuple(kept), parts) if number <= parts else None


def safe_path(path: str) -> str:
    """Return *path* without steps that leave its folder: image keys may have any name.

    >>> safe_path("cutout/../../etc/passwd.png")
    'cutout/_/_/etc/passwd.png'
    """
    return "/".join(_STEP.sub("_", step) for step in path.split("/") if step) or "_"


def _outputs(spec: JobSpec) -> list[str]:
    built_in = [name for name, has in (("mask", spec.has_mask), ("cutout", spec.has_cutout)) if has]
    return [*built_in, *(each.name for each in spec.outputs)]
