"""How many pictures fit on the device at once: halved when they do not, recovered slowly."""

from __future__ import annotations

from typing import Final

GOOD_BATCHES: Final = 32
"""So many full batches in a row let the limit grow by one: memory that other processes took may
have been given back, and one failed try in 32 batches costs about 3 %."""


class BatchLimit:
    """The greatest number of pictures to try at once.

    Args:
        most: Where it starts and what it never exceeds, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._good = 0
        self.now = most

    def failed(self, tried: int) -> None:
        """Note that *tried* pictures did not fit: half of them are tried next, at least 1."""
        self.now = max(1, tried // 2)
        self._good = 0

    def fitted(self, tried: int) -> None:
        """Note that *tried* pictures fitted; smaller batches than the limit prove nothing."""
        if tried < self.now or self.now == self._most:
            return
        self._good += 1
        if self._good == GOOD_BATCHES:
            self.now += 1
            self._good = 0
