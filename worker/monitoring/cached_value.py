"""Cache a value and refresh it in the background, so that readers never block for long."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from shared.errors import ServiceUnavailable
from worker.lifecycle import start_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_AGE_S: Final = 3.0
WAIT_S: Final = 1.0


class CachedValue(Generic[T]):
    """Refreshes a value in its own thread when a caller requests it and it is too old.

    A caller waits *wait_s* at most and then gets None: a service that does not answer must not
    hide what is known without it. Safe to use from several threads.
    """

    def __init__(
        self, read: Callable[[], T], *, max_age_s: float = MAX_AGE_S, wait_s: float = WAIT_S
    ) -> None:
        self._read = read
        self._max_age_s = max_age_s
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._cached: tuple[float, T | None] | None = None

    def get(self) -> T | None:
        """Return the value, at most *max_age_s* old; None while it is not available."""
        if self._is_old():
            with self._lock:
                if self._reading is None:
                    self._reading = start_thread("cached-value", self._refresh)
                reading = self._reading
            reading.join(self._wait_s)
        cached = self._cached
        return None if cached is None or self._is_old() else cached[1]

    def _is_old(self) -> bool:
        cached = self._cached
        return cached is None or time.monotonic() - cached[0] > self._max_age_s

    def _refresh(self) -> None:
        value: T | None = None
        try:
            value = self._read()
        except ServiceUnavailable as err:
            logger.debug("value not available", extra={"cause": str(err)})
        finally:
            with self._lock:
                self._cached = (time.monotonic(), value)
                self._reading = None
