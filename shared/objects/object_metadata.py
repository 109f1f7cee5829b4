"""Names of the metadata on every picture that workers write, and what two of them mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.objects import ObjectInfo

SOURCE: Final = "rmbg-source"
"""ETag of the picture that this was made from."""
PARAMS: Final = "rmbg-params"
"""Hash of the parameters, see `JobSpec.params_hash`."""
SEQUENCE: Final = "rmbg-sequence"
"""The job's place among all jobs."""
GENERATION: Final = "rmbg-generation"
"""Which round of its job wrote it; what is repaired is written again by a later one."""
JOB: Final = "rmbg-job"
"""The job's id, for people."""
BYTES: Final = "rmbg-bytes"
"""How long the object was when it was written; another length is damage."""
RECORD: Final = "rmbg-record"
"""The image's record, JSON in base64; S3 allows 2,048 bytes of metadata in all."""


def is_whole(found: ObjectInfo) -> bool:
    """Return whether the object is as long as it was written; where it does not say, it is."""
    return found.metadata.get(BYTES, str(found.size_bytes)) == str(found.size_bytes)


def sequence_of(found: ObjectInfo) -> int:
    """Return the sequence number of the job that wrote the object; 0 if none of ours did."""
    return _number(found, SEQUENCE, 0)


def generation_of(found: ObjectInfo) -> int:
    """Return the round of its job in which the object was written; the first if it says none."""
    return _number(found, GENERATION, 1)


def _number(found: ObjectInfo, name: str, default: int) -> int:
    text = found.metadata.get(name, "")
    return int(text) if text.isdecimal() else default
