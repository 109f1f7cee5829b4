"""What an item leaves in the bucket: written once, recognised when it is already there."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

from shared.errors import InvalidKey, StoreUnavailable
from shared.job.keys import check_image_key
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput, Naming
from shared.objects import Body, ObjectStore, PreconditionFailed
from shared.objects.object_metadata import BYTES, GENERATION, JOB, PARAMS, RECORD, SEQUENCE, SOURCE
from worker.storage.conflicts import Found, is_own, meaning_of
from worker.storage.item_ref import Work
from worker.storage.output_keys import Keys, keys_of

PROBE: Final = "_jobs/.probe"
"""Written to find out whether a store that failed takes writes again."""
MAX_RECORD_BYTES: Final = 1500
MAX_ROUNDS: Final = 3
"""How often an output that changes under our hands is looked at before it is tried later."""
OUTPUTS: Final = ("mask", "cutout")
"""In the order they are written: a cutout in the bucket has its mask."""

DOUBTFUL: Final = frozenset({"review", "reject"})
"""Verdicts of which a copy goes under the job's review prefix."""


class Effects:
    """Downloads sources and writes outputs, each under the rules of what is there already."""

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def download(self, work: Work) -> Body:
        """Return the source's bytes.

        Raises:
            InvalidKey: If no output could be named after the key; the store is not asked then.
            ObjectMissing: If there is nothing at the key.
            ImageTooLarge: If it is over the limit of bytes.
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the input bucket is missing or forbidden.
        """
        check_image_key(work.image_key)
        return self._store.get(work.spec.input_bucket, work.image_key, max_bytes=self._max_bytes)

    def probe(self, work: Work, *, writing: bool) -> None:
        """Ask whether the store reads, or writes, at all where this item would.

        Raises:
            StoreUnavailable: If not.
            BucketUnavailable: If the bucket is missing or forbidden.
        """
        if writing:
            self._store.put(work.spec.output_bucket, PROBE, b"", content_type="text/plain")
        else:
            self._store.check(work.spec.input_bucket)

    def recall(self, work: Work) -> ItemRecord | None:
        """Return the record of an item that an earlier process finished, or None.

        Only this very job's own pictures of the source as it is now count; anything else is
        decided on writing. It spares a redo the download and the network.
        """
        spec = work.spec
        if spec.naming is not Naming.SOURCE or spec.image_output is ImageOutput.HIDE:
            return None
        keys = keys_of(work, width=0, height=0)
        found = self._store.head(spec.output_bucket, keys.cutout)
        if found is None or not is_own(work, found):
            return None
        mask = self._store.head(spec.output_bucket, keys.mask)
        source = self._store.head(spec.input_bucket, work.image_key)
        if mask is None or source is None or not is_own(work, mask):
            return None
        if found.metadata.get(SOURCE) != source.etag or RECORD not in found.metadata:
            return None
        record = _unpack(found.metadata[RECORD], work, keys)
        if self._lacks_review_copy(work, record):
            return None
        return record.model_copy(
            update={"sizes": {"cutout": found.size_bytes, "mask": mask.size_bytes}}
        )

    def publish(
        self, work: Work, pictures: Mapping[str, bytes], record: ItemRecord, *, source_etag: str
    ) -> ItemRecord:
        """Write an item's pictures and return its record as it then is.

        Writing twice is harmless: what this job, or an equal one, already wrote is recognised by
        its metadata and left as it is, so its ETag never changes.

        Raises:
            OutputExists: With `Existing.FAIL`, if another picture is at a key.
            StoreUnavailable: If the store cannot be asked now, or a key changed in every round.
            BucketUnavailable: If the output bucket is missing or forbidden.
        """
        metadata = {
            SOURCE: source_etag,
            PARAMS: work.spec.params_hash,
            SEQUENCE: str(work.sequence),
            GENERATION: str(work.generation),
            JOB: work.job_id,
            RECORD: _pack(record),
        }
        keys = {"cutout": record.cutout_key, "mask": record.mask_key}
        there = {
            output: self._write(work, _present(keys[output]), pictures[output], metadata)
            for output in OUTPUTS
            if output in pictures
        }
        record = record.model_copy(
            update={"sizes": {output: size for output, (_, size) in there.items()}}
        )
        for weightiest in ("superseded", "kept", "same"):
            if any(found == weightiest for found, _ in there.values()):
                return record.model_copy(update={"existing": weightiest})
        return record

    def copy_for_review(self, work: Work, picture: bytes) -> None:
        """Write a doubtful cutout under the review prefix as well; a repetition replaces it."""
        key = _review_key(work)
        self._store.put(work.spec.output_bucket, key, picture, content_type="image/png")

    def _lacks_review_copy(self, work: Work, record: ItemRecord) -> bool:
        """Tell whether a doubtful cutout was written and its copy, which comes last, was not."""
        if work.spec.review_prefix is None or (record.qc or {}).get("verdict") not in DOUBTFUL:
            return False
        return self._store.head(work.spec.output_bucket, _review_key(work)) is None

    def _write(
        self, work: Work, key: str, picture: bytes, metadata: Mapping[str, str]
    ) -> tuple[Found, int]:
        """Have a picture at *key*; return what was there, and the length of what is there now."""
        bucket = work.spec.output_bucket
        metadata = {**metadata, BYTES: str(len(picture))}
        match: str | None = None
        for _ in range(MAX_ROUNDS):
            try:
                self._store.put(
                    bucket,
                    key,
                    picture,
                    content_type="image/png",
                    metadata=metadata,
                    if_absent=match is None,
                    if_match=match,
                )
            except PreconditionFailed:
                there = self._store.head(bucket, key)
            else:
                return None, len(picture)
            if there is None:
                match = None
                continue
            if decided := meaning_of(work, key, there, metadata=metadata):
                return decided, there.size_bytes
            match = there.etag
        raise StoreUnavailable(f"{bucket}/{key} changed {MAX_ROUNDS} times while it was written")


def _pack(record: ItemRecord) -> str:
    """Return the record for the metadata, without the keys, which whoever reads it knows."""
    without = {"image_key": "", "cutout_key": None, "mask_key": None}
    body = json.loads(record.model_copy(update=without).to_json())
    packed = base64.b64encode(json.dumps(body).encode())
    if len(packed) > MAX_RECORD_BYTES:
        packed = base64.b64encode(json.dumps(body | {"notes": []}).encode())
    return packed.decode()


def _unpack(packed: str, work: Work, keys: Keys) -> ItemRecord:
    record = ItemRecord.from_json(base64.b64decode(packed))
    return record.model_copy(
        update={
            "index": work.index,
            "image_key": work.image_key,
            "cutout_key": keys.cutout,
            "mask_key": keys.mask,
        }
    )


def _review_key(work: Work) -> str:
    return f"{_present(work.spec.review_prefix)}/{work.image_key}.png"


def _present(key: str | None) -> str:
    if key is None:
        raise InvalidKey("an output without a key")
    return key
