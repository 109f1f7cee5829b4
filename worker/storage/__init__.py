"""What an item reads from and writes to the object store."""

from worker.storage.assets import AssetBytes, AssetFault, AssetReader, Assets
from worker.storage.bucket_guard import BucketGuard
from worker.storage.item_ref import ItemRef
from worker.storage.masks import StoredMask, may_have_mask
from worker.storage.output_keys import depend_on_size, keys_of
from worker.storage.output_writer import OutputWriter
from worker.storage.outputs import NOTHING, EncodedOutput, Present, PresentOutput
from worker.storage.recall import DOUBTFUL

__all__ = [
    "DOUBTFUL",
    "NOTHING",
    "AssetBytes",
    "AssetFault",
    "AssetReader",
    "Assets",
    "BucketGuard",
    "EncodedOutput",
    "ItemRef",
    "OutputWriter",
    "Present",
    "PresentOutput",
    "StoredMask",
    "depend_on_size",
    "keys_of",
    "may_have_mask",
]
