"""Signs that a process looks alive and is not: a blocked loop, a stuck stage, too much memory."""

import time
from typing import Any, Final

import psutil
from celery import Celery, bootsteps

from worker.engine import Engine

LOOP_S: Final = 60.0
"""Longest that Celery's event loop may stand still while it is connected, in seconds."""
DECODE_S: Final = 60.0
"""Longest that a thread may decode or render one image, in seconds: only the end of its process
ends a thread."""
EVERY_S: Final = 1.0
"""Seconds between two stamps of the event loop."""


class LoopStamp:
    """Notes when Celery's event loop last ran, while it is connected.

    Without a connection to Redis the loop waits for a new one, for hours if need be; only a loop
    that has its connection and stands still is blocked.
    """

    def __init__(self, app: Celery) -> None:
        self.limit_s = LOOP_S
        """How long it may stand still, in seconds."""
        self.is_connected = False
        """Whether the loop has its connection, and so can hand out tickets."""
        self._ran_at_s: float | None = None
        stamp = self

        class Step(bootsteps.StartStopStep):
            requires = ("celery.worker.consumer.connection:Connection",)

            def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's consumer
                stamp.is_connected = True
                if parent.hub is not None:
                    stamp.ran()
                    parent.hub.call_repeatedly(EVERY_S, stamp.ran)

            def stop(self, parent: Any) -> None:  # noqa: ANN401, ARG002 - Celery's consumer
                stamp.disconnected()

        app.steps["consumer"].add(Step)

    def ran(self) -> None:
        """Note that the loop is alive."""
        self._ran_at_s = time.monotonic()

    def disconnected(self) -> None:
        """Note that the loop has no connection, so that it need not run."""
        self.is_connected = False
        self._ran_at_s = None

    def lag_s(self) -> float:
        """Return how long the loop has stood still, in seconds; 0 while it is not connected."""
        ran_at_s = self._ran_at_s
        return 0.0 if ran_at_s is None else time.monotonic() - ran_at_s


def blocked(loop: LoopStamp) -> str | None:
    """Return a reason if the event loop stands still."""
    lag_s = loop.lag_s()
    return None if lag_s <= loop.limit_s else f"the event loop has stood still for {lag_s:.0f} s"


def stuck(engine: Engine, limit_s: float = DECODE_S) -> str | None:
    """Return a reason if one image has been decoding or rendering for too long."""
    longest_s = engine.longest_s()
    if longest_s <= limit_s:
        return None
    return f"an image has been decoding or rendering for {longest_s:.0f} s"


def hung(engine: Engine, limit_s: float) -> str | None:
    """Return a reason if no item has moved for *limit_s*, although there are some."""
    return None if engine.is_progressing(limit_s) else f"no item has moved for {limit_s:.0f} s"


def too_large(limit_bytes: int) -> str | None:
    """Return a reason if this process holds more than *limit_bytes* of memory."""
    rss_bytes = psutil.Process().memory_info().rss
    if rss_bytes <= limit_bytes:
        return None
    return f"{rss_bytes / 2**20:.0f} MiB of memory held, the limit is {limit_bytes / 2**20:.0f} MiB"
