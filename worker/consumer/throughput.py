"""Measure how many images per second this worker processes, and register it."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.job.features import FEATURES
from shared.jobstore.values import WorkerInfo
from shared.models import registry
from worker.engine import Engine
from worker.inference import ModelCache

SMOOTHING: Final = 0.5
"""Weight of the newest sample: tickets should fit the rate of the last few samples."""
LEAST_SPAN_S: Final = 2.0
"""Shorter spans are too noisy: a few milliseconds hold no item, or one too many."""


class RateMeter:
    """A smoothed rate over the spans in which there was work throughout."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self.images_per_s: float | None = None
        """None until something was measured."""

    def sample(self, now_s: float, ended: int, *, working: bool) -> float | None:
        """Take one sample of the count of ended items and return the rate.

        A span that begins or ends idle says nothing about speed and is left out.
        """
        if working and self._last is not None and now_s - self._last[0] < LEAST_SPAN_S:
            return self.images_per_s
        last, self._last = self._last, (now_s, ended) if working else None
        if working and last is not None:
            rate = (ended - last[1]) / (now_s - last[0])
            if self.images_per_s is None:
                self.images_per_s = rate or None
            else:
                self.images_per_s += SMOOTHING * (rate - self.images_per_s)
        return self.images_per_s


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Builds the entry of this worker in the registry of the fleet."""

    worker_id: str
    slots: int
    device: str
    version: str
    engine: Engine
    models: ModelCache
    refused: Mapping[str, str]
    """Models that it is known at start to be unable to serve, with the reasons."""
    _meter: RateMeter = field(default_factory=RateMeter)

    def info(self, *, fault: str | None = None) -> WorkerInfo:
        """Return the entry of this worker as of now; with *fault* it serves nothing."""
        reasons = {**self.refused, **self.models.refused}
        if fault is not None:
            reasons = dict.fromkeys(registry.REGISTRY, fault)
        items = self.engine.inflight
        images_per_s = self._meter.sample(time.monotonic(), items.ended, working=items.items > 0)
        return WorkerInfo(
            worker_id=self.worker_id,
            slots=0 if fault else self.slots,
            models=tuple(name for name in registry.REGISTRY if name not in reasons),
            refused=reasons,
            device=self.device,
            images_per_s=None if fault else images_per_s,
            version=self.version,
            host=socket.gethostname(),
            pid=os.getpid(),
            features=tuple(sorted(FEATURES)),
        )
