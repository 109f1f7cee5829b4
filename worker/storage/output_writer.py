"""Read an item's source, and write its outputs to the bucket exactly once."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from shared.errors import RequestRefused, StoreError, StoreUnavailable
from shared.job import output_keys
from shared.job.output_keys import BUILT_IN
from shared.job.preview_keys import preview_key
from shared.job.record import ItemRecord
from shared.job.spec import Existing
from shared.job.written import FOREIGN
from shared.objects import ObjectStore, OpenObject, PreconditionFailed
from shared.objects.answers import FORBIDDEN
from shared.objects.object_metadata import (
    BYTES,
    FACTS,
    GENERATION,
    JOB,
    MASK,
    PARAMS,
    RANGE,
    RECORD,
    SEQUENCE,
    SOURCE,
)
from worker.storage.conflicts import Conflict, resolve
from worker.storage.item_ref import ItemRef
from worker.storage.masks import MaskReader, pack_range
from worker.storage.output_keys import key_of, review_key, slots
from worker.storage.outputs import EncodedOutput, Present, PresentOutput, with_sizes
from worker.storage.packing import pack_facts, pack_record
from worker.storage.recall import Recall, is_doubtful
from worker.storage.source_reader import SourceReader, item_error

logger = logging.getLogger(__name__)

PROBE: Final = "_jobs/.probe"
"""Written to find out whether a store that failed accepts writes again."""
MAX_ROUNDS: Final = 3
"""How often an output that changes while it is written is tried before its item is retried."""
PRECEDENCE: Final[tuple[Conflict, ...]] = ("superseded", "kept", "same")
"""Which conflict a record names if its outputs met different ones."""


class OutputWriter:
    """Writes outputs under the rules for what exists already; safe in several threads."""

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        """Use *store*; *max_bytes* is the largest source."""
        self._store = store
        self._sources = SourceReader(store, max_bytes=max_bytes)
        self.recall = Recall(store)
        self.masks = MaskReader(store, max_bytes=max_bytes)

    def open_source(self, item: ItemRef) -> AbstractContextManager[OpenObject]:
        """Request the source; see `SourceReader.open`."""
        return self._sources.open(item)

    def probe_reading(self, bucket: str) -> None:
        """Find out whether *bucket* can be read.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        self._store.check(bucket)

    def probe_writing(self, bucket: str) -> None:
        """Find out whether *bucket* accepts writes; raises as `probe_reading`."""
        self._store.put(bucket, PROBE, b"", content_type="text/plain")

    def write_preview(self, item: ItemRef, preview: bytes) -> None:
        """Write the preview of an item; log it if that fails, whatever the reason.

        Nothing depends on a preview, so no item fails or waits for it. An outage is still noticed:
        the outputs, which are written next, meet it too and are tried again together with the
        preview. A repetition replaces the preview with one of the same images.
        """
        key = preview_key(item.spec, item.job_id, item.index)
        try:
            self._store.put(item.spec.output_bucket, key, preview, content_type="image/webp")
        except StoreError as err:
            cause = {"image_key": item.image_key, "preview": key, "cause": str(err)}
            logger.warning("preview not written", extra=cause)

    def publish(
        self,
        item: ItemRef,
        outputs: Sequence[EncodedOutput],
        record: ItemRecord,
        *,
        present: Present,
        mask_hash: str,
    ) -> ItemRecord:
        """Write an item's outputs, copy a doubtful cutout for review, and return the final record.

        Outputs are written in the order of `JobSpec.output_names`; the last carries the record.
        A repetition is harmless: what this job, or an equal one, wrote before is recognised by its
        metadata and left as it is, so its ETag never changes. The copy follows the same rules, but
        it replaces that of an earlier job. There is none of a cutout that was not written.

        Args:
            item: The item.
            outputs: What is to be written.
            record: The record as far as it is known.
            present: The source's ETag, and outputs that need not be written.
            mask_hash: The one of the job's mask hashes that applies to the image.

        Raises:
            OutputExists: With `Existing.FAIL`, if a different output is at a key.
            ObjectRefused: If the store refuses this key, and accepts writes to other ones now.
            StoreUnavailable: If the store cannot be asked now, or a key changed in every round.
            BucketUnavailable: If the output bucket is missing or forbidden.
        """
        common = {
            SOURCE: present.source_etag,
            MASK: mask_hash,
            SEQUENCE: str(item.sequence),
            GENERATION: str(item.generation),
            JOB: item.job_id,
        }
        to_write = {output.name: output for output in outputs}
        for name in item.spec.output_names:
            if name in present.outputs:
                record = _with_present(record, name, present.outputs[name])
            elif name in to_write:
                record = self._publish_one(item, to_write[name], record, common)
        if is_doubtful(item, record) and "cutout" in to_write:
            self._copy_for_review(item, to_write["cutout"], record, common)
        return record

    def _publish_one(
        self, item: ItemRef, output: EncodedOutput, record: ItemRecord, common: Mapping[str, str]
    ) -> ItemRecord:
        """Write the files of one output, and return *record* with what was met."""
        metadata = _metadata(item, output, record, common)
        met: list[Conflict | None] = []
        sizes: dict[int, int] = {}
        for slot in slots(item, output.name, held=output.facts.verdict == "review"):
            key = key_of(item, slot, width=record.width or 0, height=record.height or 0)
            conflict, size_bytes = self._write(
                item, key, output.files[slot.width_px], output.media_type, metadata
            )
            met.append(conflict)
            sizes[slot.width_px] = size_bytes
        existing = next((each for each in PRECEDENCE if each in met), None)
        return _with_written(record, output, sizes, existing)

    def _copy_for_review(
        self, item: ItemRef, cutout: EncodedOutput, record: ItemRecord, common: Mapping[str, str]
    ) -> None:
        """Write the cutout under the review prefix, unless another job's cutout stayed."""
        if record.existing in FOREIGN:
            return
        metadata = _metadata(item, cutout, record, common)
        body, media_type = cutout.files[0], cutout.media_type
        self._write(_replacing(item), review_key(item), body, media_type, metadata)

    def _write(
        self, item: ItemRef, key: str, body: bytes, media_type: str, metadata: Mapping[str, str]
    ) -> tuple[Conflict | None, int]:
        """Write *body* at *key*; return the conflict that was met and the size of what is there."""
        bucket = item.spec.output_bucket
        metadata = {**metadata, BYTES: str(len(body))}
        match: str | None = None
        for _ in range(MAX_ROUNDS):
            try:
                self._store.put(
                    bucket,
                    key,
                    body,
                    content_type=media_type,
                    metadata=metadata,
                    if_absent=match is None,
                    if_match=match,
                )
            except PreconditionFailed:
                found = self._store.head(bucket, key)
            except RequestRefused as err:
                if err.code in FORBIDDEN:
                    raise
                self.probe_writing(bucket)
                raise item_error(err) from err
            else:
                return None, len(body)
            if found is not None and (conflict := resolve(item, key, found, metadata=metadata)):
                return conflict, found.size_bytes
            match = None if found is None else found.etag
        raise StoreUnavailable(f"{bucket}/{key} changed {MAX_ROUNDS} times while it was written")


def _metadata(
    item: ItemRef, output: EncodedOutput, record: ItemRecord, common: Mapping[str, str]
) -> dict[str, str]:
    """Return the metadata of an output's objects; the last output carries the record."""
    metadata = {**common, PARAMS: output.hash}
    if output.name not in BUILT_IN:
        metadata[FACTS] = pack_facts(output.facts)
    if output.name == output_keys.MASK:
        metadata[RANGE] = pack_range(record)
    if output.name == item.spec.output_names[-1]:
        metadata[RECORD] = pack_record(record)
    return metadata


def _with_written(
    record: ItemRecord,
    output: EncodedOutput,
    sizes: Mapping[int, int],
    existing: Conflict | None,
) -> ItemRecord:
    if output.name in BUILT_IN:
        met = (record.existing, existing)
        return record.model_copy(
            update={
                "sizes": {**(record.sizes or {}), output.name: sizes[0]},
                "existing": next((each for each in PRECEDENCE if each in met), None),
            }
        )
    facts = with_sizes(output.facts, sizes).model_copy(update={"existing": existing})
    return record.model_copy(update={"outputs": {**record.outputs, output.name: facts}})


def _with_present(record: ItemRecord, name: str, present: PresentOutput) -> ItemRecord:
    if name in BUILT_IN:
        sizes = {**(record.sizes or {}), name: present.sizes[0]}
        return record.model_copy(update={"sizes": sizes})
    return record.model_copy(update={"outputs": {**record.outputs, name: present.sized_facts}})


def _replacing(item: ItemRef) -> ItemRef:
    """Return *item* for its copy for review, which replaces that of any earlier job."""
    return replace(item, spec=item.spec.model_copy(update={"existing": Existing.REPLACE}))
