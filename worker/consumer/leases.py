"""The tickets this process holds, and the beat that keeps them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import RedisUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import Lease

logger = logging.getLogger(__name__)


class Held:
    """One lease of ours; `lost` once another process may have it."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._lost = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the store has told us that the ticket is not ours any more."""
        return self._lost.is_set()

    def lose(self) -> None:
        """Note that the store said so."""
        self._lost.set()


class Leases:
    """Beats for all that is held, but only while the engine progresses.

    A process whose device hangs must lose its tickets, so a beat is not sent for its own sake.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        ttl_s: float,
        beat_s: float,
        is_progressing: Callable[[], bool],
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._beat_s = beat_s
        self._is_progressing = is_progressing
        self._held: set[Held] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.lost = 0
        """Leases lost since the start."""
        threading.Thread(target=self._serve, name="leases", daemon=True).start()

    def hold(self, lease: Lease) -> Held:
        """Beat for *lease* from now on."""
        held = Held(lease)
        with self._lock:
            self._held.add(held)
        return held

    def drop(self, held: Held) -> None:
        """Stop beating for it; a second time does nothing."""
        with self._lock:
            self._held.discard(held)

    def __len__(self) -> int:
        """Tickets held."""
        return len(self._held)

    def close(self) -> None:
        """Stop beating altogether."""
        self._closed.set()

    def beat(self) -> None:
        """Renew every lease once; those that are gone are told so.

        Raises:
            RedisUnavailable: If Redis cannot be asked; then nothing is held to be lost.
        """
        with self._lock:
            held = {each.lease: each for each in self._held}
        if not held:
            return
        for lease in self._store.leases.beat(list(held), ttl_s=self._ttl_s):
            if held[lease] not in self._held:
                continue  # given back while we asked
            held[lease].lose()
            self.lost += 1
            logger.warning(
                "lease lost", extra={"job_id": lease.ticket.job_id, "ticket": lease.ticket.unit}
            )

    def _serve(self) -> None:
        while not self._closed.wait(self._beat_s):
            if not self._is_progressing():
                logger.error("no progress: leases are left to expire")
                continue
            try:
                self.beat()
            except RedisUnavailable as err:
                logger.warning("no beat", extra={"cause": str(err)})
