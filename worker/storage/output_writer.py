"""Read an item's source, and write its outputs to the bucket exactly once."""

import base64
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from shared.errors import RequestRefused, StoreError, StoreUnavailable
from shared.job.preview_keys import preview_key
from shared.job.record import ItemRecord
from shared.job.spec import Existing, ImageOutput
from shared.objects import ObjectStore, OpenObject, PreconditionFailed
from shared.objects.answers import FORBIDDEN
from shared.objects.object_metadata import BYTES, GENERATION, JOB, PARAMS, RECORD, SEQUENCE, SOURCE
from worker.storage.conflicts import Conflict, is_own, resolve
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import depend_on_size, keys_of, review_key
from worker.storage.source_reader import SourceReader, item_error

logger = logging.getLogger(__name__)

PROBE: Final = "_jobs/.probe"
"""Written to find out whether a store that failed accepts writes again."""
MAX_RECORD_BYTES: Final = 1500
MAX_ROUNDS: Final = 3
"""How often an output that changes while it is written is tried before its item is retried."""
WRITE_ORDER: Final = ("mask", "cutout")
"""A cutout in the bucket always has its mask."""
DOUBTFUL: Final = frozenset({"review", "reject"})
"""Verdicts of images that a person should look at."""
PRECEDENCE: Final[tuple[Conflict, ...]] = ("superseded", "kept", "same")
"""Which conflict a record names if its outputs met different ones."""


class OutputWriter:
    """Writes outputs under the rules for what exists already; safe in several threads."""

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        """Use *store*; *max_bytes* is the largest source."""
        self._store = store
        self._sources = SourceReader(store, max_bytes=max_bytes)

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

    def recall(self, item: ItemRef) -> ItemRecord | None:
        """Return the record of an item that an earlier process finished, or None.

        It spares a redo the download and the network. Only outputs that this very job made from
        the source as it is now count; everything else is decided on writing. None if the item has
        no outputs, or if their keys contain the size of the image: see `recall_sized`.
        """
        if item.spec.image_output is ImageOutput.HIDE or depend_on_size(item):
            return None
        return self._recall(item, keys_of(item, width=0, height=0), None)

    def recall_sized(
        self, item: ItemRef, *, width: int, height: int, source_etag: str
    ) -> ItemRecord | None:
        """Return the same for an item whose source has been read, with this size and ETag.

        It spares a redo the network. None if `recall` could decide it.
        """
        if item.spec.image_output is ImageOutput.HIDE or not depend_on_size(item):
            return None
        return self._recall(item, keys_of(item, width=width, height=height), source_etag)

    def _recall(
        self, item: ItemRef, keys: Mapping[str, str], source_etag: str | None
    ) -> ItemRecord | None:
        """Return the record at *keys*; ask for the source's ETag if it is None."""
        spec = item.spec
        found = self._store.head(spec.output_bucket, keys["cutout"])
        if found is None or not is_own(item, found):
            return None
        mask = self._store.head(spec.output_bucket, keys["mask"])
        if mask is None or not is_own(item, mask):
            return None
        if source_etag is None:
            source = self._store.head(spec.input_bucket, item.image_key)
            source_etag = source.etag if source else None
        if found.metadata.get(SOURCE) != source_etag or RECORD not in found.metadata:
            return None
        record = _unpack(found.metadata[RECORD], item, keys)
        if _is_doubtful(item, record):
            copy = self._store.head(spec.output_bucket, review_key(item))
            if copy is None or not is_own(item, copy):
                return None  # the copy, which is written last, is missing
        return record.model_copy(
            update={"sizes": {"cutout": found.size_bytes, "mask": mask.size_bytes}}
        )

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
        outputs: Mapping[str, bytes],
        record: ItemRecord,
        *,
        source_etag: str,
        params_hash: str,
    ) -> ItemRecord:
        """Write an item's outputs, copy a doubtful cutout for review, and return the final record.

        *params_hash* is the one of the job's hashes that applies to the image.

        A repetition is harmless: what this job, or an equal one, wrote before is recognised by its
        metadata and left as it is, so its ETag never changes. The copy follows the same rules, but
        it replaces that of an earlier job. There is none of a cutout that was not written.

        Raises:
            OutputExists: With `Existing.FAIL`, if a different output is at a key.
            ObjectRefused: If the store refuses this key, and accepts writes to other ones now.
            StoreUnavailable: If the store cannot be asked now, or a key changed in every round.
            BucketUnavailable: If the output bucket is missing or forbidden.
        """
        metadata = {
            SOURCE: source_etag,
            PARAMS: params_hash,
            SEQUENCE: str(item.sequence),
            GENERATION: str(item.generation),
            JOB: item.job_id,
            RECORD: _pack(record),
        }
        keys = {"cutout": record.cutout_key or "", "mask": record.mask_key or ""}
        written = {
            output: self._write(item, keys[output], outputs[output], metadata)
            for output in WRITE_ORDER
        }
        if _is_doubtful(item, record) and written["cutout"][0] not in ("superseded", "kept"):
            self._write(_replacing(item), review_key(item), outputs["cutout"], metadata)
        conflicts = {conflict for conflict, _ in written.values()}
        return record.model_copy(
            update={
                "sizes": {output: size_bytes for output, (_, size_bytes) in written.items()},
                "existing": next((each for each in PRECEDENCE if each in conflicts), None),
            }
        )

    def _write(
        self, item: ItemRef, key: str, body: bytes, metadata: Mapping[str, str]
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
                    content_type=item.spec.options.format.media_type,
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


def _is_doubtful(item: ItemRef, record: ItemRecord) -> bool:
    """Return whether the job wants a copy of this cutout for review."""
    return item.spec.review_prefix is not None and record.verdict in DOUBTFUL


def _replacing(item: ItemRef) -> ItemRef:
    """Return *item* for its copy for review, which replaces that of any earlier job."""
    return replace(item, spec=item.spec.model_copy(update={"existing": Existing.REPLACE}))


def _pack(record: ItemRecord) -> str:
    """Return the record for the metadata, without the keys, which its reader knows."""
    without_keys = {"image_key": "", "cutout_key": None, "mask_key": None}
    body = json.loads(record.model_copy(update=without_keys).to_json())
    packed = base64.b64encode(json.dumps(body).encode())
    if len(packed) > MAX_RECORD_BYTES:
        packed = base64.b64encode(json.dumps(body | {"notes": []}).encode())
    return packed.decode()


def _unpack(packed: str, item: ItemRef, keys: Mapping[str, str]) -> ItemRecord:
    record = ItemRecord.from_json(base64.b64decode(packed))
    return record.model_copy(
        update={
            "index": item.index,
            "image_key": item.image_key,
            "cutout_key": keys["cutout"],
            "mask_key": keys["mask"],
        }
    )
