"""Share masks among equal images under several keys, so that the network runs once for them."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from worker.engine.item import ItemRequest
from worker.engine.payloads import Decoded, GivenMask, NetworkOutput
from worker.imaging.stored_mask import read_mask
from worker.inference import Output

SHARED_BYTES: Final = 32 * 2**20
"""Default for the encoded masks that a worker keeps: about 700 of photographs of 2 megapixels."""


@dataclass(frozen=True)
class _EncodedMask:
    """A mask as a PNG file, and the range of the network's output that it was made of."""

    body: bytes
    low: float
    high: float


class SharedMasks:
    """Masks of the images that went through the network last. Safe to use from several threads.

    The output of the network is shared as long as an item holds it, then the encoded mask. So no
    second image of equal bytes misses the first, unless the mask was not written or has made room
    for others.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Keep encoded masks of *limit_bytes* in all; 0: share nothing."""
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._outputs: WeakValueDictionary[Hashable, NetworkOutput] = WeakValueDictionary()
        self._masks: OrderedDict[Hashable, _EncodedMask] = OrderedDict()
        """The one used last is at the end."""
        self._lock = threading.Lock()

    def key_of(self, request: ItemRequest, body: bytes) -> Hashable:
        """Return a key that is equal for images of the same bytes in one round of one job.

        Jobs share no masks here: whoever submits images again, or repairs them, may doubt the
        masks. Within a job, model and options are the same.
        """
        round_of_job = (request.job_id, request.generation)
        if not self._limit_bytes:
            return (*round_of_job, request.index)
        return (*round_of_job, hashlib.sha256(body).digest())

    def find(self, payload: Decoded) -> NetworkOutput | GivenMask | None:
        """Return what an equal image got, if it is still known."""
        if not self._limit_bytes:
            return None
        # In this order: an output is held until its mask is kept.
        with self._lock:
            output = self._outputs.get(payload.key)
        if output is not None:
            return output
        height, width = payload.image.pixels.shape[:2]
        return self.find_mask(payload.key, height, width)

    def find_mask(self, key: Hashable, height: int, width: int) -> GivenMask | None:
        """Return the mask of an equal image that has been rendered, if it is kept."""
        with self._lock:
            if key not in self._masks:
                return None
            self._masks.move_to_end(key)
            kept = self._masks[key]
        mask = read_mask(kept.body, height, width)
        return None if mask is None else GivenMask(mask, "shared", kept.low, kept.high)

    def note(self, key: Hashable, output: Output) -> NetworkOutput:
        """Share an output of the network as long as somebody holds what this returns."""
        noted = NetworkOutput(output, key)
        with self._lock:
            self._outputs[key] = noted
        return noted

    def keep(self, key: Hashable, mask: bytes, low: float, high: float) -> None:
        """Keep a final mask, encoded as PNG; drop those that have not been used for longest."""
        if len(mask) > self._limit_bytes:
            return
        with self._lock:
            self._drop(key)
            self._masks[key] = _EncodedMask(mask, low, high)
            self._held_bytes += len(mask)
            while self._held_bytes > self._limit_bytes:
                self._drop(next(iter(self._masks)))

    def _drop(self, key: Hashable) -> None:
        if dropped := self._masks.pop(key, None):
            self._held_bytes -= len(dropped.body)
