"""What an object at one of our keys is to the item that would write there; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from shared.errors import OutputExists
from shared.job.spec import Existing
from shared.objects import ObjectInfo
from shared.objects.object_metadata import (
    PARAMS,
    SEQUENCE,
    SOURCE,
    generation_of,
    is_whole,
    sequence_of,
)
from worker.storage.item_ref import Work

Found: TypeAlias = Literal["same", "kept", "superseded"] | None
"""What was at the key, where it was not this item that wrote it now."""


def is_own(work: Work, found: ObjectInfo) -> bool:
    """Return whether this very job wrote the object in this round, and it is whole."""
    own = {PARAMS: work.spec.params_hash, SEQUENCE: str(work.sequence)}
    by_us = all(found.metadata.get(name) == own[name] for name in own)
    return by_us and is_whole(found) and not _is_outdated(work, found)


def meaning_of(work: Work, key: str, there: ObjectInfo, *, metadata: Mapping[str, str]) -> Found:
    """Return what an object at our key is to us, None where it is to be replaced.

    *metadata* is what ours would carry.

    Raises:
        OutputExists: With `Existing.FAIL`, if it is another picture.
    """
    sequence = sequence_of(there)
    if all(there.metadata.get(name) == metadata[name] for name in (SOURCE, PARAMS)):
        return "same" if is_whole(there) and not _is_outdated(work, there) else None
    if sequence > work.sequence:
        return "superseded"
    if sequence == work.sequence:
        return None
    if work.spec.existing is Existing.KEEP:
        return "kept"
    if work.spec.existing is Existing.FAIL:
        raise OutputExists(f"{key}: another picture is there, and the job says --existing fail")
    return None


def _is_outdated(work: Work, found: ObjectInfo) -> bool:
    """Return whether an earlier round of this job wrote it, and the item was opened again since.

    What a repair opens again is to be written again: an object that was changed behind our back
    may look whole by its own metadata.
    """
    return sequence_of(found) == work.sequence and generation_of(found) < work.generation
