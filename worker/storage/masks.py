"""Find the mask that an earlier job has made of an item's source."""

from dataclasses import dataclass
from typing import Final

from shared.errors import ItemError
from shared.job import output_keys
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput, JobSpec
from shared.objects import ObjectInfo, ObjectStore
from shared.objects.object_metadata import MASK, PARAMS, RANGE, SOURCE, is_whole
from worker.storage.conflicts import is_outdated
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import depend_on_size, key_of, slots
from worker.storage.outputs import Present

_UNKNOWN: Final = (0.0, 1.0)
"""Range of a mask that does not record it: neither end is doubtful."""
_ENDS: Final = ("low", "high")
"""Their names among the quality figures."""
_SAVED: Final = frozenset({ImageOutput.SAVE, ImageOutput.HIDE_SAVE})


@dataclass(frozen=True)
class MaskHashes:
    """What determined a mask in the bucket, by its metadata."""

    mask: str
    """See `JobSpec.mask_hash`; "" if an earlier version wrote the mask."""
    params: str
    """See `JobSpec.params_hash`."""

    def fit(self, spec: JobSpec, *, has_alpha: bool) -> bool:
        """Return whether a job would make the same mask of an image."""
        if self.mask:
            return self.mask == spec.mask_hash_of(has_alpha=has_alpha)
        return self.params == spec.hash_of(output_keys.MASK, has_alpha=has_alpha)


@dataclass(frozen=True)
class StoredMask:
    """A whole mask in the bucket that was made of the source as it is now."""

    body: bytes
    """The file."""
    hashes: MaskHashes
    low: float
    """Least value of the network's output, 0 to 1; 0 if the object does not say it."""
    high: float
    """Greatest value of it; 1 if the object does not say it."""


def may_have_mask(item: ItemRef, present: Present) -> bool:
    """Return whether the bucket is asked for the item's mask.

    It is not if the key contains the size of the image, which is not known before it is decoded.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    is_wanted = item.spec.reuse_masks and item.spec.image_output in _SAVED
    return (is_wanted or output_keys.MASK in present.outputs) and not depend_on_size(item)


class MaskReader:
    """Reads masks below the save prefix of the item's own job; safe in several threads."""

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        """Use *store*; a mask over *max_bytes* is not read."""
        self._store = store
        self._max_bytes = max_bytes

    def find(self, item: ItemRef, source_etag: str) -> tuple[StoredMask, ...]:
        """Return the mask that was made of the source with this ETag, if there is one.

        The mask counts if it is whole and no repair is to replace it, whichever job wrote it. If
        the store refuses only this object, such as one in an archive tier, none is found.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the output bucket is missing or forbidden.
        """
        bucket = item.spec.output_bucket
        key = key_of(item, slots(item, output_keys.MASK)[0], width=0, height=0)
        found = self._store.head(bucket, key)
        if found is None or not self._counts(item, found, source_etag):
            return ()
        try:
            body = self._store.get(bucket, key)
        except ItemError:
            return ()
        if body.etag != found.etag:
            return ()  # replaced meanwhile
        return (StoredMask(body.data, _hashes_of(found), *_range_of(found)),)

    def _counts(self, item: ItemRef, found: ObjectInfo, source_etag: str) -> bool:
        hashes = _hashes_of(found)
        return (
            found.metadata.get(SOURCE) == source_etag
            and any(hashes.fit(item.spec, has_alpha=each) for each in (False, True))
            and is_whole(found)
            and not is_outdated(item, found)
            and found.size_bytes <= self._max_bytes
        )


def pack_range(record: ItemRecord) -> str:
    """Return the range of the network's output as the mask of an item carries it."""
    figures = record.qc or {}
    low, high = (figures.get(name, least) for name, least in zip(_ENDS, _UNKNOWN, strict=True))
    return f"{low} {high}"


def _range_of(found: ObjectInfo) -> tuple[float, float]:
    low, _, high = found.metadata.get(RANGE, "").partition(" ")
    try:
        return float(low), float(high)
    except ValueError:
        return _UNKNOWN


def _hashes_of(found: ObjectInfo) -> MaskHashes:
    return MaskHashes(found.metadata.get(MASK, ""), found.metadata.get(PARAMS, ""))
