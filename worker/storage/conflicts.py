"""What an object at an output key means to the item that would write there. Pure functions."""

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
from worker.storage.item_ref import ItemRef

Conflict: TypeAlias = Literal["same", "kept", "superseded"]
"""Why the object that was found stays: it is the same output, the job says `--existing keep`, or a
later job wrote it."""


def is_own(item: ItemRef, output: str, found: ObjectInfo) -> bool:
    """Return whether this very job wrote *output* since its last repair, and it is whole."""
    by_us = found.metadata.get(PARAMS) in item.spec.hashes_of(output) and found.metadata.get(
        SEQUENCE
    ) == str(item.sequence)
    return by_us and is_whole(found) and not is_outdated(item, found)


def resolve(
    item: ItemRef, key: str, found: ObjectInfo, *, metadata: Mapping[str, str]
) -> Conflict | None:
    """Return why the object at *key* stays, None if it is to be replaced.

    *metadata* is what our own object would carry.

    Raises:
        OutputExists: With `Existing.FAIL`, if it is a different output.
    """
    sequence = sequence_of(found)
    if all(found.metadata.get(name) == metadata[name] for name in (SOURCE, PARAMS)):
        return "same" if is_whole(found) and not is_outdated(item, found) else None
    if sequence > item.sequence:
        return "superseded"
    is_earlier = sequence < item.sequence
    if is_earlier and item.spec.existing is Existing.KEEP:
        return "kept"
    if is_earlier and item.spec.existing is Existing.FAIL:
        raise OutputExists(
            f"{key}: a different output exists and the job says --existing fail; "
            "remove it or choose another save prefix"
        )
    return None


def is_outdated(item: ItemRef, found: ObjectInfo) -> bool:
    """Return whether this job wrote the object before its last repair.

    A repair opens items again to have them rewritten: an object that was changed by someone else
    may look whole by its own metadata. A retry keeps what the failed item has written.
    """
    return sequence_of(found) == item.sequence and generation_of(found) < item.repaired
