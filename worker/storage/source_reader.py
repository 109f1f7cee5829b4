"""Read an item's source, and tell a refused object from a refused bucket."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Final

from shared.errors import ImageTooLarge, ObjectForbidden, ObjectRefused, RequestRefused
from shared.job.keys import check_image_key
from shared.objects import ObjectStore, OpenObject
from shared.objects.answers import FORBIDDEN
from worker.storage.item_ref import ItemRef

_LISTED_KEYS: Final = 3
"""Keys of the item's folder that are looked at until one is found that is not the item's."""


class SourceReader:
    """Opens sources of up to *max_bytes*; safe in several threads."""

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._last_read: dict[str, str] = {}
        """The key last opened in each bucket."""

    @contextmanager
    def open(self, item: ItemRef) -> Iterator[OpenObject]:
        """Request the source; its size is known before its bytes are read.

        Raises:
            InvalidKey: If no output could be named after the key; the store is not asked.
            ObjectMissing: If there is nothing at the key.
            ObjectArchived: If the source is in an archive tier.
            ObjectForbidden: If access to this source is denied, and other keys can be read now.
            ObjectRefused: If the store refuses this source, and other keys can be read now.
            ImageTooLarge: If the source is over the limit of bytes.
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the input bucket is missing or forbidden.
        """
        bucket, key = item.spec.input_bucket, item.image_key
        check_image_key(key)
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self._store.open(bucket, key))
            except RequestRefused as err:
                if not self._can_read_others(bucket, key):
                    raise
                raise item_error(err) from err
            self._last_read[bucket] = key
            if source.size_bytes > self._max_bytes:
                raise ImageTooLarge(
                    f"{bucket}/{key} is {source.size_bytes} bytes long; "
                    f"the limit is {self._max_bytes}",
                    bucket=bucket,
                    operation="get",
                )
            yield source

    def _can_read_others(self, bucket: str, key: str) -> bool:
        """Return whether the store answers for other keys at this moment.

        Rights that were revoked for the whole bucket would otherwise fail every item.
        """
        try:
            known = self._last_read.get(bucket)
            if known is not None and self._store.head(bucket, known) is not None:
                return True
            folder = key.rpartition("/")[0]
            listed = self._store.list(bucket, f"{folder}/" if folder else "")
            others = [found.key for found in islice(listed, _LISTED_KEYS) if found.key != key]
            return not others or self._store.head(bucket, others[0]) is not None
        except RequestRefused:
            return False


def item_error(err: RequestRefused) -> ObjectForbidden | ObjectRefused:
    """Return the error of an item whose key alone is refused."""
    kind = ObjectForbidden if err.code in FORBIDDEN else ObjectRefused
    return kind(str(err), bucket=err.bucket, operation=err.operation, code=err.code)
