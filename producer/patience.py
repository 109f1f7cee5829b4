"""Keep waiting for a job while a service restarts."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeVar

from shared.errors import RedisRefused, RedisUnavailable, StoreUnavailable

PATIENCE_S: Final = 60.0
"""How long a command that waits for a job waits for Redis and the object store, in seconds."""
_Answer = TypeVar("_Answer")


def say_nothing(_text: str) -> None:
    """Take a message and drop it."""


class Patience:
    """Outages that a loop survives; each of its rounds runs as `with patience:`.

    A round that meets an outage just ends, unless the outage has lasted for too long. Redis that
    refuses the user is no outage.
    """

    def __init__(
        self,
        say: Callable[[str], None] = say_nothing,
        *,
        limit_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without an outage.

        Args:
            say: Shows a message, once when an outage begins and once when it ends.
            limit_s: Longest outage, in seconds; 0 survives none.
            clock: Returns a monotonic time in seconds.
        """
        self._say = say
        self._limit_s = limit_s
        self._clock = clock
        self._since_s: float | None = None

    def __enter__(self) -> None:
        """Begin a round."""

    def __exit__(
        self, _kind: object, err: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """End a round; return whether the loop continues in spite of *err*.

        Raises:
            RedisUnavailable: If Redis has been unavailable for too long.
            StoreUnavailable: If the object store has been unavailable for too long.
        """
        if isinstance(err, RedisUnavailable | StoreUnavailable):
            return not isinstance(err, RedisRefused) and self._survives(err)
        if err is None and self._since_s is not None:
            self._since_s = None
            self._say("the service answers again")
        return False

    def insist(self, ask: Callable[[], _Answer], pause_s: float) -> _Answer:
        """Call *ask* until it meets no outage, and return its answer."""
        while True:
            with self:
                return ask()
            time.sleep(pause_s)

    def _survives(self, err: RedisUnavailable | StoreUnavailable) -> bool:
        now_s = self._clock()
        if self._limit_s == 0:
            return False
        if self._since_s is None:
            self._since_s = now_s
            self._say(f"{err}; waiting for up to {self._limit_s:.0f} s, the job is not affected")
        elif now_s - self._since_s >= self._limit_s:
            raise type(err)(f"{err}; gave up after {self._limit_s:.0f} s") from err
        return True
