"""Answer the probes: is this process alive, and does it take work?"""

from dataclasses import dataclass

from worker.engine import Engine
from worker.lifecycle import Shutdown
from worker.monitoring.liveness import DECODE_S, LoopStamp, blocked, hung, stuck


@dataclass(kw_only=True, eq=False)
class Health:
    """Returns what is wrong, or None. Asks neither Redis nor the store."""

    engine: Engine
    loop: LoopStamp
    shutdown: Shutdown
    stall_s: float
    decode_s: float = DECODE_S
    is_loaded: bool = False
    """Set once the models are loaded."""
    is_serving: bool = False
    """Set once the process takes tickets."""

    def alive(self) -> str | None:
        """Return why the process should be restarted, or None.

        A process without work, Redis or the store is alive: a restart would not help.
        """
        return (
            blocked(self.loop)
            or stuck(self.engine, self.decode_s)
            or self.engine.overdue_pass()
            or hung(self.engine, self.stall_s)
        )

    def ready(self) -> str | None:
        """Return why the process takes no tickets, or None."""
        if self.shutdown.is_draining:
            return "draining"
        if not self.is_loaded:
            return "models are being loaded"
        if not self.is_serving:
            return "not serving yet"
        return None if self.loop.is_connected else "not connected to the queue"
