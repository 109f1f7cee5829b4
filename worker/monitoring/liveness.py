"""Signs that a process looks alive and is not: a blocked loop, a hung stage, too much memory."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import psutil
from celery import Celery, bootsteps

from worker.engine.engine import Engine
from worker.resources import allowed_memory_bytes
from worker.settings import WorkerSettings

LOOP_S: Final = 60.0
"""Longest that Celery's event loop may stand still while it is connected, in seconds."""


DECODE_S: Final = 60.0
"""Longest that a thread may decode or draw one picture, in seconds: only its process can end
a thread."""


MEMORY_SHARE: Final = 0.75
"""Share of the memory this process may use at which it makes room by leaving."""


EVERY_S: Final = 1.0


class LoopStamp:
    """Notes when Celery's event loop last turned, while it is connected.

    Away from Redis the loop waits for a new connection, as it should for hours if need be; only
    a loop that has its connection and stands still is wedged.
    """

    def __init__(self, app: Celery) -> None:
        self.limit_s = LOOP_S
        """How long it may stand still, in seconds."""
        self.is_connected = False
        """Whether the loop has its connection, and so can hand out tickets."""
        self._turned_at_s: float | None = None
        stamp = self

        class Step(bootsteps.StartStopStep):
            requires = ("celery.worker.consumer.connection:Connection",)

            def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's consumer
                stamp.is_connected = True
                if parent.hub is not None:
                    stamp.turned()
                    parent.hub.call_repeatedly(EVERY_S, stamp.turned)

            def stop(self, parent: Any) -> None:  # noqa: ANN401, ARG002 - Celery's consumer
                stamp.disconnected()

        app.steps["consumer"].add(Step)

    def turned(self) -> None:
        """Note that the loop is alive."""
        self._turned_at_s = time.monotonic()

    def disconnected(self) -> None:
        """Note that the loop has no connection: nothing is expected of it."""
        self.is_connected = False
        self._turned_at_s = None

    def lag_s(self) -> float:
        """Return how long the loop has stood still, in seconds; 0 while it is not connected."""
        turned_at_s = self._turned_at_s
        return 0.0 if turned_at_s is None else time.monotonic() - turned_at_s

    def wrong(self) -> str | None:
        """See `Check.wrong`."""
        lag_s = self.lag_s()
        if lag_s <= self.limit_s:
            return None
        return f"the event loop has stood still for {lag_s:.0f} s"


def stuck(engine: Engine) -> str | None:
    """Say so if one picture has been decoding or drawing for too long."""
    longest_s = engine.longest_s()
    if longest_s <= DECODE_S:
        return None
    return f"a picture has been decoding or drawing for {longest_s:.0f} s"


def hung(engine: Engine, limit_s: float) -> str | None:
    """Say so if no stage has ended any item for *limit_s*, although there are some."""
    return None if engine.is_progressing(limit_s) else f"nothing has moved for {limit_s:.0f} s"


def too_large(limit_bytes: int) -> str | None:
    """Say so if this process holds more than *limit_bytes* of memory."""
    rss_bytes = psutil.Process(os.getpid()).memory_info().rss
    if rss_bytes <= limit_bytes:
        return None
    return f"{rss_bytes / 2**20:.0f} MiB of memory held, the limit is {limit_bytes / 2**20:.0f} MiB"


def memory_limit_bytes(settings: WorkerSettings) -> int:
    """Return the memory at which the process leaves: as set, or a share of what it may use."""
    return settings.max_rss_bytes or int(MEMORY_SHARE * allowed_memory_bytes())
