"""Restrict access to the buckets that this worker's settings allow."""

from collections.abc import Collection

from shared.errors import BucketUnavailable
from shared.objects import ObjectStore, StoreWrapper


class BucketGuard(StoreWrapper):
    """See `ObjectStore`: reads the input and output buckets and writes the output bucket only.

    Anything that can write to Redis can create a job, so the producer's own check proves nothing.
    A call for another bucket raises `BucketUnavailable` and does not reach the store: the job waits
    and shows the reason, because another worker, or new settings, may allow the bucket.
    """

    def __init__(self, store: ObjectStore, *, inputs: Collection[str], output: str) -> None:
        super().__init__(store)
        self._readable = {*inputs, output}
        self._output = output

    def _reader(self, bucket: str) -> ObjectStore:
        if bucket not in self._readable:
            raise BucketUnavailable(
                f"{bucket} is not in RMBG_INPUT_BUCKETS of this worker; add it there"
            )
        return self._store

    def _writer(self, bucket: str) -> ObjectStore:
        if bucket != self._output:
            raise BucketUnavailable(
                f"{bucket} is not the RMBG_OUTPUT_BUCKET of this worker; "
                "submit the job with this worker's bucket or change the variable"
            )
        return self._store
