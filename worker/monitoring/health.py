"""Answer the probes: is this process alive, and does it take work?"""

from worker.engine import Engine
from worker.lifecycle import Shutdown
from worker.monitoring.liveness import DECODE_S, LoopStamp, blocked, hung, stuck


class Health:
    """Answers with what is wrong, or None. Asks neither Redis nor the store.

    `is_loaded` and `is_serving` are set as the process starts.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        loop: LoopStamp,
        shutdown: Shutdown,
        stall_s: float,
        decode_s: float = DECODE_S,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._shutdown = shutdown
        self._stall_s = stall_s
        self._decode_s = decode_s
        self.is_loaded = False
        self.is_serving = False

    def alive(self) -> str | None:
        """Return why the process should be restarted, or None.

        A process without work, or without Redis or the store, is well: a restart would not help.
        """
        return (
            blocked(self._loop)
            or stuck(self._engine, self._decode_s)
            or hung(self._engine, self._stall_s)
        )

    def ready(self) -> str | None:
        """Return why the process takes no tickets, or None."""
        if self._shutdown.is_draining:
            return "draining"
        if not self.is_loaded:
            return "models are being loaded"
        if not self.is_serving:
            return "not serving yet"
        return None if self._loop.is_connected else "not connected to the queue"
