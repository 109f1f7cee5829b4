"""What the probes ask: is this process alive, and does it take work?"""

from __future__ import annotations

from worker.engine.engine import Engine
from worker.monitoring.liveness import LoopStamp, hung, stuck


class Health:
    """Answers with what is wrong, or None. Asks neither Redis nor the store.

    `is_loaded`, `is_serving` and `is_draining` are set as the process goes through its life.
    """

    def __init__(self, *, engine: Engine, loop: LoopStamp, stall_s: float) -> None:
        self._engine = engine
        self._loop = loop
        self._stall_s = stall_s
        self.is_loaded = False
        self.is_serving = False
        self.is_draining = False

    def alive(self) -> str | None:
        """Return why starting the process again would help.

        Without work, or away from Redis or the store, it is well: none of that would help.
        """
        return self._loop.wrong() or stuck(self._engine) or hung(self._engine, self._stall_s)

    def ready(self) -> str | None:
        """Return why it takes no tickets."""
        if self.is_draining:
            return "draining"
        if not self.is_loaded:
            return "models are being loaded"
        if not self.is_serving:
            return "not serving yet"
        return None if self._loop.is_connected else "not connected to the queue"
