"""The object store in memory, with missing buckets, and a hook where a test can inject a fault."""

from shared.errors import BucketUnavailable
from shared.objects.memory import MemoryStore as PlainMemoryStore


class MemoryStore(PlainMemoryStore):
    """A `MemoryStore` that calls `before(call, bucket, key)` first in every call.

    The buckets in `missing` do not exist.
    """

    def __init__(self):
        super().__init__()
        self.before = lambda call, bucket, key: None
        self.missing = set()

    def open(self, bucket, key):
        self._enter("get", bucket, key)
        return super().open(bucket, key)

    def download(self, bucket, key, into):
        self._enter("download", bucket, key)
        super().download(bucket, key, into)

    def head(self, bucket, key):
        """Like S3, return None for a missing bucket too."""
        self.before("head", bucket, key)
        return super().head(bucket, key)

    def put(self, bucket, key, data, **options):
        self._enter("put", bucket, key)
        return super().put(bucket, key, data, **options)

    def list(self, bucket, prefix, *, start_after=""):
        self._enter("list", bucket, prefix)
        return super().list(bucket, prefix, start_after=start_after)

    def delete(self, bucket, keys):
        for key in keys:
            self._enter("delete", bucket, key)
            super().delete(bucket, [key])

    def check(self, bucket):
        self._enter("check", bucket, "")
        super().check(bucket)

    def keys(self, bucket):
        return list(super().keys(bucket))

    def _enter(self, call, bucket, key):
        self.before(call, bucket, key)
        if bucket in self.missing:
            fault = f"{bucket}: bucket not found"
            raise BucketUnavailable(fault, bucket=bucket, operation=call, code="NoSuchBucket")
