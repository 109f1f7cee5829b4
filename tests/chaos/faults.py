"""Cause the faults of a schedule."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import redis
from fleet import Fleet
from jobs import Jobs
from s3_proxy import S3Fault, S3FaultKind
from schedule import Fault, Kind
from support.until import poll
from system import LEASE_S, System

from shared.broker.queues import QUEUES

DOWN_S: Final = (0.2, 1.2)
"""Shortest and longest outage of Redis."""
FROZEN_S: Final = (LEASE_S + 1.0, LEASE_S + 3.0)
"""Shortest and longest time that a worker is frozen."""
S3_FAULT_S: Final = 2.0
"""Duration of a fault of S3."""
MESSAGES: Final = 3
"""Most messages that one fault removes or duplicates."""
S3_FAULTS: Final = {
    Kind.STORE_503: (S3FaultKind.REFUSED, 0.9),
    Kind.STORE_STALL: (S3FaultKind.STALLED, 0.3),
    Kind.STORE_REPLY_LOST: (S3FaultKind.REPLY_LOST, 0.3),
    Kind.STORE_501: (S3FaultKind.UNIMPLEMENTED, 1.0),
    Kind.STORE_SLOW: (S3FaultKind.SLOW, 0.5),
}
"""What the proxy does, and to which share of the requests."""
_QUEUE_WAIT_S: Final = 3.0


class Faults:
    """Cause faults, and count them."""

    def __init__(self, system: System, fleet: Fleet) -> None:
        self._system = system
        self._fleet = fleet
        self._s3_fault_ends_s = 0.0
        self.done: Counter[Kind] = Counter()
        """Number of faults by kind."""
        self.messages: Counter[str] = Counter()
        """Number of messages that were removed and duplicated."""
        self._kinds: dict[Kind, Callable[[random.Random], object]] = {
            Kind.KILL: fleet.kill,
            Kind.TERMINATE: fleet.terminate,
            Kind.FREEZE: lambda chance: fleet.freeze(chance, chance.uniform(*FROZEN_S)),
            Kind.REDIS_KILL: lambda chance: self._redis_down(chance, cut=False),
            Kind.POWER_LOSS: lambda chance: self._redis_down(chance, cut=True),
            Kind.MESSAGE_REMOVED: self._remove,
            Kind.MESSAGE_DOUBLED: self._double,
            Kind.RESET: lambda _: self._system.broker.client_kill_filter(_type="normal"),
            Kind.HALF_OPEN: lambda chance: system.redis_proxy.freeze(lambda: chance.random() < 0.5),
        }
        for kind, (s3_kind, share) in S3_FAULTS.items():
            self._kinds[kind] = partial(self._s3_fault, s3_kind, share)

    def cause(self, fault: Fault) -> None:
        """Cause one fault; for an outage of Redis, return when it is up again."""
        self._kinds[fault.kind](random.Random(fault.seed))
        self.done[fault.kind] += 1

    def counts(self, jobs: Jobs) -> dict[str, dict[str, int]]:
        """Return by kind how many faults were drawn, and how often they hit.

        Hits of S3 faults are requests that the proxy saw, and those of a poisoned image or a lost
        device are calls of the network; other faults hit when they are caused.
        """
        hits = self._system.s3_proxy.hits
        counts = {
            str(kind): {
                "drawn": drawn,
                "hit": hits[S3_FAULTS[kind][0]] if kind in S3_FAULTS else drawn,
            }
            for kind, drawn in sorted(self.done.items())
        }
        causes = self._fleet.causes()
        for name in ("poisoned batch", "device lost"):
            counts[name] = {"drawn": 1, "hit": causes.get(name, 0)}
        return counts | {
            refusal.name: {"drawn": 1, "hit": hits[refusal.name]}
            for refusal in jobs.refused.values()
        }

    def tick(self) -> None:
        """End a fault of S3 whose time is over."""
        if time.monotonic() >= self._s3_fault_ends_s:
            self._system.s3_proxy.fault = None

    def end(self) -> None:
        """End all faults."""
        self._s3_fault_ends_s = 0.0
        self.tick()

    def _s3_fault(self, kind: S3FaultKind, share: float, chance: random.Random) -> None:
        self._system.s3_proxy.fault = S3Fault(kind, share, chance)
        self._s3_fault_ends_s = time.monotonic() + S3_FAULT_S

    def _redis_down(self, chance: random.Random, *, cut: bool) -> None:
        server = self._system.servers.redis
        server.kill()
        if cut:
            self._system.append_only.cut(chance)
        time.sleep(chance.uniform(*DOWN_S))  # noqa: TID251 - the outage itself
        server.start()

    def _remove(self, chance: random.Random) -> None:
        """Remove messages from either end of a queue."""
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            pop = chance.choice((self._system.broker.lpop, self._system.broker.rpop))
            if queue is not None and pop(queue) is not None:
                self.messages["removed"] += 1

    def _double(self, chance: random.Random) -> None:
        """Add copies of messages to the end of their queue."""
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            messages = self._system.broker.lrange(queue, 0, -1) if queue is not None else []
            if queue is not None and messages:
                self._system.broker.lpush(queue, chance.choice(messages))
                self.messages["doubled"] += 1

    def _queue_with_messages(self, chance: random.Random) -> str | None:
        """Return a queue that is not empty, or None if there is none for a while."""
        for _ in poll(within_s=_QUEUE_WAIT_S, every_s=0.02):
            self._fleet.tick()
            try:
                found = [name for name in QUEUES if self._system.broker.llen(name)]
            except redis.ConnectionError:
                continue  # the reset of an earlier fault
            if found:
                return chance.choice(found)
        return None
