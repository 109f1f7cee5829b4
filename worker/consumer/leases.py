"""The tickets that this process holds, and the heartbeat that keeps them."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from shared.job.ticket import Ticket
from shared.jobstore.store import JobStore
from shared.jobstore.values import Lease
from worker.lifecycle import Phase, Shutdown

logger = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 1.0
"""Pause before Redis is asked again, in seconds: an outage may last, and each time is logged."""


class HeldTicket:
    """One lease of this process, and whether its work goes on. Safe to use from any thread."""

    def __init__(self, lease: Lease, shutdown: Shutdown) -> None:
        self.lease = lease
        self._shutdown = shutdown
        self._is_stopped = False
        self.is_lost = False
        """Whether another process may have the ticket: set once the job store reports that."""

    @property
    def is_stopped(self) -> bool:
        """Whether to start nothing more, also because the process drains."""
        return self._is_stopped or self.is_lost or self._shutdown.is_draining

    @property
    def is_hurried(self) -> bool:
        """Whether there is no time left to wait for a service that does not answer."""
        return self._shutdown.is_hurried

    def stop(self) -> None:
        """Start nothing more."""
        self._is_stopped = True

    def wait_for_redis(self, message: str, err: Exception) -> None:
        """Log *message*, and wait before Redis is asked again; end early once hurried."""
        logger.warning(message, extra=self.named(cause=str(err)))
        self._shutdown.wait(Phase.HURRIED, ASK_AGAIN_S)

    def named(self, **facts: object) -> dict[str, object]:
        """Return the log fields that identify the ticket, with *facts*."""
        return named(self.lease.ticket, **facts)


class Leases:
    """Renews all leases of this process, but only while its engine makes progress.

    A process whose device hangs must lose its tickets, so a heartbeat that only proves that a
    thread is alive is not sent.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        ttl_s: float,
        is_progressing: Callable[[], bool],
        shutdown: Shutdown,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self.every_s = ttl_s / 3
        """Seconds between two rounds."""
        self._is_progressing = is_progressing
        self._shutdown = shutdown
        self._held: set[HeldTicket] = set()
        self._lock = threading.Lock()
        self.lost = 0
        """Leases lost since the start."""

    def __len__(self) -> int:
        """Return how many tickets are held."""
        return len(self._held)

    def hold(self, lease: Lease) -> HeldTicket:
        """Renew *lease* from now on."""
        held = HeldTicket(lease, self._shutdown)
        with self._lock:
            self._held.add(held)
        return held

    def drop(self, held: HeldTicket) -> None:
        """Stop renewing it; a second time does nothing."""
        with self._lock:
            self._held.discard(held)

    @contextmanager
    def giving_up(self, held: HeldTicket) -> Iterator[None]:
        """Do not renew the ticket while the job store releases it; renew it again if that fails.

        It is dropped first: a heartbeat in between must not take its absence for a loss.
        """
        self.drop(held)
        try:
            yield
        except BaseException:
            with self._lock:
                self._held.add(held)
            raise

    def beat(self) -> None:
        """Renew every lease once, and mark those that are lost.

        Raises:
            RedisUnavailable: If Redis cannot be asked; then no lease counts as lost.
        """
        with self._lock:
            held = {each.lease: each for each in self._held}
        if not held:
            return
        for lease in self._store.leases.beat(list(held), ttl_s=self._ttl_s):
            if held[lease] not in self._held:
                continue  # released while we asked
            held[lease].is_lost = True
            self.lost += 1
            logger.warning("lease lost", extra=held[lease].named())

    def round(self) -> None:
        """Renew the leases if the engine makes progress; call it well within their time.

        Raises:
            RedisUnavailable: See `beat`.
        """
        if not self._is_progressing():
            logger.error("no progress: leases are left to expire")
            return
        self.beat()


def named(ticket: Ticket, **facts: object) -> dict[str, object]:
    """Return the log fields that identify a ticket, with *facts*."""
    return {"job_id": ticket.job_id, "ticket": ticket.unit, "epoch": ticket.epoch, **facts}
