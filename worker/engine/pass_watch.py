"""Notice a batch that never comes back from the device."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

LEAST_S: Final = 30.0
"""Shortest limit of a batch, in seconds: the first passes of a size take several."""
FACTOR: Final = 10
"""How many times as long as usual a batch may take."""
KEPT: Final = 32
"""Passes of a model whose median is usual."""


@dataclass(frozen=True)
class _Running:
    model: str
    images: int
    since_s: float


class PassWatch:
    """Times the batch that the device runs. One thread notes batches; any may ask.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running: _Running | None = None
        self._image_s: dict[str, deque[float]] = {}
        """Time per image of the last passes of each model."""

    def begin(self, model: str, images: int) -> None:
        """Note that the device begins with a batch of *images* images."""
        self._running = _Running(model, images, self._clock())

    def end(self, images: int) -> None:
        """Note that the batch has ended, of which *images* ran; 0: its time says nothing."""
        running, self._running = self._running, None
        if running is not None and images:
            took_s = self._clock() - running.since_s
            kept = self._image_s.setdefault(running.model, deque(maxlen=KEPT))
            kept.append(took_s / images)

    def overdue(self) -> str | None:
        """Return a reason if the batch on the device takes too long.

        A model that has run no batch yet has no limit.
        """
        running = self._running
        usual = list(self._image_s.get(running.model, ())) if running else []
        if running is None or not usual:
            return None
        limit_s = max(LEAST_S, FACTOR * median(usual) * running.images)
        took_s = self._clock() - running.since_s
        if took_s <= limit_s:
            return None
        return (
            f"{running.images} images of {running.model} have been on the device for"
            f" {took_s:.0f} s, the limit is {limit_s:.0f} s"
        )
