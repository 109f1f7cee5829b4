"""Metadata of the objects that workers write: names and parsing."""

from typing import Final

from shared.objects.protocol import ObjectInfo

SOURCE: Final = "rmbg-source"
"""ETag of the source image."""
PARAMS: Final = "rmbg-params"
"""Hash of the parameters; see `JobSpec.params_hash`."""
SEQUENCE: Final = "rmbg-sequence"
"""Sequence number of the job among all jobs."""
GENERATION: Final = "rmbg-generation"
"""Generation of the job that wrote the object; a repair writes it again in a later one."""
JOB: Final = "rmbg-job"
"""Job id, for people."""
BYTES: Final = "rmbg-bytes"
"""Size of the object in bytes when it was written; another size means damage."""
RECORD: Final = "rmbg-record"
"""The image's record as base64 of JSON, on the object that is written last; S3 allows 2,048 bytes
of metadata in all."""
FACTS: Final = "rmbg-facts"
"""What the record holds about an output that is made by a recipe, as base64 of JSON."""
MASK: Final = "rmbg-mask"
"""Hash of what determines the mask; see `JobSpec.mask_hash`."""
RANGE: Final = "rmbg-range"
"""On a mask: least and greatest value of the network's output, for a later job's verdict."""
MERGED: Final = "rmbg-merged"
"""On results that hold all records, not the list of the shards that hold them."""


def is_whole(found: ObjectInfo) -> bool:
    """Return whether the object has the size it was written with, or does not record that size."""
    return found.metadata.get(BYTES, str(found.size_bytes)) == str(found.size_bytes)


def sequence_of(found: ObjectInfo) -> int:
    """Return the sequence number of the job that wrote the object; 0 for a foreign object."""
    return _number(found, SEQUENCE, 0)


def generation_of(found: ObjectInfo) -> int:
    """Return the generation in which the object was written; 1 if it does not record one."""
    return _number(found, GENERATION, 1)


def _number(found: ObjectInfo, name: str, default: int) -> int:
    text = found.metadata.get(name, "")
    return int(text) if text.isdecimal() else default
