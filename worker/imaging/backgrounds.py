"""Keep decoded background images, and what was made of them, between outputs."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeAlias

from shared.errors import UndecodableImage, UnsupportedImage
from shared.recipes.values import Size
from worker.imaging.render import Cover, covering
from worker.imaging.types import RgbImage

MAX_CACHED_PX: Final = 32_000_000
"""Pixels that are kept, 3 bytes each; the last image is always kept."""
_Fault: TypeAlias = UndecodableImage | UnsupportedImage


class Backgrounds:
    """Background images by SHA-256, the last used ones; safe in several threads."""

    def __init__(
        self, decode: Callable[[bytes], RgbImage], *, cached_px: int = MAX_CACHED_PX
    ) -> None:
        """Decode images with *decode*, and keep *cached_px* pixels."""
        self._cached_px = cached_px
        self._decode = decode
        self._kept: OrderedDict[Hashable, RgbImage] = OrderedDict()
        self._faults: dict[str, _Fault] = {}
        self._decoding = threading.Lock()
        self._lock = threading.Lock()

    def cover(self, sha256: str, data: bytes) -> Cover:
        """Return what covers a canvas with the image *data*.

        It is decoded once as long as it is kept; threads wait for each other meanwhile.

        Raises:
            ItemError: If *data* exceeds a limit or cannot be decoded.
            WorkerUnfit: If no child process can be started.
        """
        with self._decoding:
            if fault := self._faults.get(sha256):
                raise fault
            known = self._take(sha256)
            image = self._keep(sha256, self._decoded(sha256, data)) if known is None else known

        def covered(canvas: Size) -> RgbImage:
            key = sha256, canvas
            if (known := self._take(key)) is not None:
                return known
            return self._keep(key, covering(image, canvas))

        return covered

    def _decoded(self, sha256: str, data: bytes) -> RgbImage:
        try:
            return self._decode(data)
        except (UndecodableImage, UnsupportedImage) as err:
            self._faults[sha256] = err  # the same bytes fail again
            raise

    def _take(self, key: Hashable) -> RgbImage | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def _keep(self, key: Hashable, image: RgbImage) -> RgbImage:
        """Keep *image* as the last used one; it is shared and therefore read-only."""
        image.flags.writeable = False
        with self._lock:
            self._kept[key] = image
            while sum(each.size // 3 for each in self._kept.values()) > self._cached_px:
                if len(self._kept) == 1:
                    break
                self._kept.popitem(last=False)
        return image
