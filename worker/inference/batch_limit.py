"""Track how many images fit on the device at once: halve on failure, recover slowly."""

from __future__ import annotations

from typing import Final

GOOD_BATCHES: Final = 32
"""Consecutive full batches after which the limit grows by one: other processes may have released
memory, and one failed attempt in 32 batches costs about 3 %."""


class BatchLimit:
    """The greatest number of images to run at once.

    Args:
        most: Initial value and maximum, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._good = 0
        self.now = most

    def failed(self, tried: int) -> None:
        """Record that *tried* images did not fit; the limit becomes half of them, at least 1."""
        self.now = max(1, tried // 2)
        self._good = 0

    def fitted(self, tried: int) -> None:
        """Record that *tried* images fitted; batches below the limit are ignored."""
        if tried < self.now or self.now == self._most:
            return
        self._good += 1
        if self._good == GOOD_BATCHES:
            self.now += 1
            self._good = 0
