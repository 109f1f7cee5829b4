"""The object store as far as this worker's settings allow, whatever a job says."""

from __future__ import annotations

from collections.abc import Collection

from shared.errors import BucketUnavailable
from shared.objects import ObjectStore, StoreWrapper


class ConfinedStore(StoreWrapper):
    """See `ObjectStore`: reads the input buckets and the output bucket, writes the latter alone.

    A job comes from whoever can write to Redis, so the producer's own check proves nothing. What
    is asked of another bucket raises `BucketUnavailable` and never reaches the store: the job
    waits and says for what, since another worker's settings, or these tomorrow, may allow it.
    """

    def __init__(self, store: ObjectStore, *, inputs: Collection[str], output: str) -> None:
        super().__init__(store)
        self._readable = {*inputs, output}
        self._output = output

    def _reader(self, bucket: str) -> ObjectStore:
        if bucket not in self._readable:
            raise BucketUnavailable(f"{bucket} is not in RMBG_INPUT_BUCKETS of this worker")
        return self._store

    def _writer(self, bucket: str) -> ObjectStore:
        if bucket != self._output:
            raise BucketUnavailable(f"{bucket} is not the RMBG_OUTPUT_BUCKET of this worker")
        return self._store
