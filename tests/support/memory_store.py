"""The object store in memory, with a hook where a test can inject a fault, wait or interfere."""

from shared.objects.memory import MemoryStore as PlainMemoryStore


class MemoryStore(PlainMemoryStore):
    """A `MemoryStore` that calls `before(call, bucket, key)` first in every call."""

    def __init__(self):
        super().__init__()
        self.before = lambda call, bucket, key: None

    def get(self, bucket, key, *, max_bytes=None):
        self.before("get", bucket, key)
        return super().get(bucket, key, max_bytes=max_bytes)

    def head(self, bucket, key):
        self.before("head", bucket, key)
        return super().head(bucket, key)

    def put(self, bucket, key, data, **options):
        self.before("put", bucket, key)
        return super().put(bucket, key, data, **options)

    def list(self, bucket, prefix, *, start_after=""):
        self.before("list", bucket, prefix)
        return super().list(bucket, prefix, start_after=start_after)

    def delete(self, bucket, keys):
        for key in keys:
            self.before("delete", bucket, key)
            super().delete(bucket, [key])

    def check(self, bucket):
        self.before("check", bucket, "")
        super().check(bucket)

    def keys(self, bucket):
        return list(super().keys(bucket))
