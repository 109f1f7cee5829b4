"""What an item reads from and writes to the object store."""

from worker.storage.bucket_guard import BucketGuard
from worker.storage.item_ref import ItemRef
from worker.storage.output_keys import keys_of
from worker.storage.output_writer import OutputWriter

__all__ = [
    "BucketGuard",
    "ItemRef",
    "OutputWriter",
    "keys_of",
]
