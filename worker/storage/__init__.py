"""What an item reads from and writes to the object store."""

from worker.storage.bucket_guard import BucketGuard
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import depend_on_size, keys_of
from worker.storage.output_writer import DOUBTFUL, OutputWriter

__all__ = [
    "DOUBTFUL",
    "BucketGuard",
    "ItemRef",
    "OutputWriter",
    "depend_on_size",
    "keys_of",
]
