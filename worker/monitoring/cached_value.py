"""A value from elsewhere, which is never waited for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from shared.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_AGE_S: Final = 3.0
WAIT_S: Final = 1.0


class Fresh(Generic[T]):
    """Reads a value again when it is asked for and old, in a thread of its own.

    Whoever asks waits *wait_s* at most and then gets None: a service that is away must not keep
    from sight what is known without it. Safe to use from several threads.
    """

    def __init__(
        self, read: Callable[[], T], *, max_age_s: float = MAX_AGE_S, wait_s: float = WAIT_S
    ) -> None:
        self._read = read
        self._max_age_s = max_age_s
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._found: tuple[float, T | None] | None = None

    def get(self) -> T | None:
        """Return the value, *max_age_s* old at most; None while it cannot be had."""
        if self._is_old():
            with self._lock:
                if self._reading is None:
                    self._reading = threading.Thread(target=self._serve, name="fresh", daemon=True)
                    self._reading.start()
                reading = self._reading
            reading.join(self._wait_s)
        found = self._found
        return None if found is None or self._is_old() else found[1]

    def _is_old(self) -> bool:
        found = self._found
        return found is None or time.monotonic() - found[0] > self._max_age_s

    def _serve(self) -> None:
        value: T | None = None
        try:
            value = self._read()
        except ServiceUnavailable as err:
            logger.debug("not to be had", extra={"cause": str(err)})
        finally:
            with self._lock:
                self._found = (time.monotonic(), value)
                self._reading = None
