"""Find the outputs of an item that an earlier process of this job has written."""

from collections.abc import Mapping
from typing import Final

from shared.job.output_keys import CUTOUT
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import ImageOutput
from shared.objects import ObjectInfo, ObjectStore
from shared.objects.object_metadata import FACTS, RECORD, SOURCE
from worker.storage.conflicts import is_own
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import depend_on_size, key_of, keys_of, review_key, slots
from worker.storage.outputs import NOTHING, Present, PresentOutput
from worker.storage.packing import unpack_facts, unpack_record

DOUBTFUL: Final = frozenset({"review", "reject"})
"""Verdicts of images that a person should look at."""


def is_doubtful(item: ItemRef, record: ItemRecord) -> bool:
    """Return whether the job wants a copy of this cutout for review."""
    return item.spec.review_prefix is not None and record.verdict in DOUBTFUL


class Recall:
    """Looks for what a redo can spare; safe in several threads.

    Only outputs that this very job made from the source as it is now count; everything else is
    decided on writing.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def find(self, item: ItemRef) -> ItemRecord | Present:
        """Return the record of an item that is whole, else what is present of it.

        It spares a redo the download and the network. Nothing is looked for if the keys contain
        the size of the image: see `find_sized`.
        """
        if item.spec.image_output is ImageOutput.HIDE or depend_on_size(item):
            return NOTHING
        return self._find(item, 0, 0, None)

    def find_sized(
        self, item: ItemRef, *, width: int, height: int, source_etag: str
    ) -> ItemRecord | Present:
        """Return the same for an item whose source has been read, with this size and ETag."""
        if item.spec.image_output is ImageOutput.HIDE or not depend_on_size(item):
            return Present(source_etag)
        return self._find(item, width, height, source_etag)

    def _find(
        self, item: ItemRef, width: int, height: int, source_etag: str | None
    ) -> ItemRecord | Present:
        """Return the record or what is present; ask for the source's ETag if it is None."""
        written = self._written(item, width, height)
        if not written:
            return Present(source_etag or "")
        if source_etag is None:
            source = self._store.head(item.spec.input_bucket, item.image_key)
            source_etag = source.etag if source else ""
        counting = {
            name: objects
            for name, objects in written.items()
            if all(each.metadata.get(SOURCE) == source_etag for each in objects.values())
        }
        found = {name: _present(objects) for name, objects in counting.items()}
        anchor = counting.get(item.spec.output_names[-1], {})
        record = _record_in(anchor) if len(found) == len(item.spec.output_names) else None
        if record is None or record.state != "done":
            return Present(source_etag, found)
        whole = _completed(item, record, found, width, height)
        if is_doubtful(item, whole) and not self._has_copy(item):
            return Present(source_etag)  # the copy, which is written last, is missing
        return whole

    def _written(
        self, item: ItemRef, width: int, height: int
    ) -> Mapping[str, Mapping[int, ObjectInfo]]:
        """Return the objects of this job by output and width.

        The anchor is asked for first, since it decides for a whole item. Without it the others are
        asked for in the order in which they were written, up to the first that is missing.
        """
        *earlier, anchor = item.spec.output_names
        found = {anchor: self._objects(item, anchor, width, height)}
        for name in earlier:
            found[name] = self._objects(item, name, width, height)
            if not (found[anchor] or found[name]):
                break
        return {name: objects for name, objects in found.items() if objects}

    def _objects(
        self, item: ItemRef, name: str, width: int, height: int
    ) -> Mapping[int, ObjectInfo]:
        """Return the objects of an output by width, held or not; none unless all are there."""
        ways = dict.fromkeys(slots(item, name, held=held) for held in (False, True))
        for wanted in ways:
            objects: dict[int, ObjectInfo] = {}
            for slot in wanted:
                key = key_of(item, slot, width=width, height=height)
                found = self._store.head(item.spec.output_bucket, key)
                if found is None or not is_own(item, name, found):
                    break
                objects[slot.width_px] = found
            else:
                return objects
        return {}

    def _has_copy(self, item: ItemRef) -> bool:
        copy = self._store.head(item.spec.output_bucket, review_key(item))
        return copy is not None and is_own(item, CUTOUT, copy)


def _present(objects: Mapping[int, ObjectInfo]) -> PresentOutput:
    packed = objects[max(objects)].metadata.get(FACTS)
    facts = unpack_facts(packed) if packed else OutputFacts()
    return PresentOutput({width: each.size_bytes for width, each in objects.items()}, facts)


def _record_in(objects: Mapping[int, ObjectInfo]) -> ItemRecord | None:
    packed = objects[max(objects)].metadata.get(RECORD)
    return unpack_record(packed) if packed else None


def _completed(
    item: ItemRef, record: ItemRecord, found: Mapping[str, PresentOutput], width: int, height: int
) -> ItemRecord:
    """Return *record* with what its packed form leaves out."""
    keys = keys_of(item, width=width, height=height)
    return record.model_copy(
        update={
            "index": item.index,
            "image_key": item.image_key,
            "cutout_key": keys.get("cutout"),
            "mask_key": keys.get("mask"),
            "sizes": {name: found[name].sizes[0] for name in keys},
            "outputs": {name: found[name].sized_facts for name in found if name not in keys},
        }
    )
