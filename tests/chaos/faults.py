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
from operations import Operations
from s3_proxy import S3Fault, S3FaultKind
from schedule import OPERATIONS, Fault, Kind
from support.until import poll
from system import LEASE_S, System

from shared.broker.queues import QUEUES
from shared.errors import RedisUnavailable
from shared.jobstore.faults import REPLICA

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
_DYING_S: Final = 1.0
"""Longest time from SIGKILL until the port of Redis is closed."""
_QUEUE_WAIT_S: Final = 3.0
_WORKER_WAIT_S: Final = 15.0
"""Longest wait for a worker that is connected to Redis and can notice a failover."""


class Faults:
    """Cause faults, and count them."""

    def __init__(self, system: System, fleet: Fleet, jobs: Jobs) -> None:
        self._system = system
        self._fleet = fleet
        self._jobs = jobs
        self.operations = Operations(system, jobs)
        self._s3_fault_ends_s = 0.0
        self.done: Counter[Kind] = Counter()
        """Number of faults by kind."""
        self._hits: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        """Number of messages that were removed and duplicated."""
        self._kinds: dict[Kind, Callable[[random.Random], int]] = {
            Kind.KILL: lambda chance: bool(fleet.kill(chance)),
            Kind.TERMINATE: fleet.terminate,
            Kind.FREEZE: lambda chance: fleet.freeze(chance, chance.uniform(*FROZEN_S)),
            Kind.REDIS_KILL: lambda chance: self._redis_down(chance, cut=False),
            Kind.POWER_LOSS: lambda chance: self._redis_down(chance, cut=True),
            Kind.REDIS_FAILOVER: lambda _: self._fail_over(),
            Kind.MESSAGE_REMOVED: self._remove,
            Kind.MESSAGE_DOUBLED: self._double,
            Kind.RESET: lambda _: int(system.broker.client_kill_filter(_type="normal")),
            Kind.HALF_OPEN: self._half_open,
            Kind.DEVICE_LOST: lambda _: fleet.lose_device(),
            Kind.SUPERVISOR_KILL: lambda _: fleet.supervised.kill(),
        }
        for kind, (s3_kind, share) in S3_FAULTS.items():
            self._kinds[kind] = partial(self._s3_fault, s3_kind, share)
        for kind in OPERATIONS:
            self._kinds[kind] = partial(self._begin, kind)

    def cause(self, fault: Fault) -> None:
        """Cause one fault; for an outage of Redis, return when it is up again."""
        self.done[fault.kind] += 1
        self._hits[fault.kind] += self._kinds[fault.kind](random.Random(fault.seed))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return by kind how many faults were drawn, and how often they hit.

        Hits are what the proxies and the process table showed, or in the case of a poisoned image
        and of a lost device, calls of the network.
        """
        hits = self._hits + self.operations.hits + Counter(self._fleet.causes())
        seen = self._system.s3_proxy.hits
        hits.update({kind: seen[s3_kind] for kind, (s3_kind, _) in S3_FAULTS.items()})
        hits.update({refusal.name: seen[refusal.name] for refusal in self._jobs.refused.values()})
        drawn = {str(kind): number for kind, number in sorted(self.done.items())}
        drawn |= dict.fromkeys(
            ("poisoned batch", *(each.name for each in self._jobs.refused.values())), 1
        )
        return {name: {"drawn": number, "hit": hits[name]} for name, number in drawn.items()}

    def tick(self) -> None:
        """End a fault of S3 whose time is over."""
        if time.monotonic() >= self._s3_fault_ends_s:
            self._system.s3_proxy.fault = None

    def end(self) -> None:
        """End all faults."""
        self._s3_fault_ends_s = 0.0
        self.tick()

    def _begin(self, kind: Kind, chance: random.Random) -> int:
        """Begin an operation, which counts its own hit at its end."""
        self.operations.begin(kind, chance)
        return 0

    def _s3_fault(self, kind: S3FaultKind, share: float, chance: random.Random) -> int:
        """Let the proxy of S3 cause a fault and count its hits."""
        self._system.s3_proxy.fault = S3Fault(kind, share, chance)
        self._s3_fault_ends_s = time.monotonic() + S3_FAULT_S
        return 0

    def _half_open(self, chance: random.Random) -> int:
        proxy = self._system.redis_proxy
        before = proxy.connections
        proxy.freeze(lambda: chance.random() < 0.5)
        return before - proxy.connections

    def _redis_down(self, chance: random.Random, *, cut: bool) -> int:
        server = self._system.redis.primary
        if cut:
            self.operations.note_outage()
        server.kill()
        is_down = any(self._system.redis.is_down for _ in poll(within_s=_DYING_S))
        if cut:
            self._system.append_only.cut(chance)
        time.sleep(chance.uniform(*DOWN_S))  # noqa: TID251 - the outage itself
        server.start()
        return int(is_down)

    def _fail_over(self) -> int:
        """Fail over; count a hit if the replica refused commands and then became the primary."""
        for _ in poll(within_s=_WORKER_WAIT_S, every_s=0.05):
            self._fleet.tick()
            if self._system.redis_proxy.connections:
                break
        refused = self._system.redis.fail_over(
            while_syncing=self._fleet.tick,
            before_kill=self.operations.note_outage,
            while_read_only=self._check_words,
        )
        self._system.append_only.follow(self._system.redis.primary.folder)
        role = self._system.broker.info("replication")["role"]
        return int(bool(refused) and role == "master")

    def _check_words(self) -> None:
        """Check what a producer says about a read-only replica."""
        try:
            self._system.client.cancel("no such job")
        except RedisUnavailable as err:
            self._jobs.expected.unclear_messages += REPLICA not in str(err)
        else:
            self._jobs.expected.unclear_messages += 1

    def _remove(self, chance: random.Random) -> int:
        """Remove messages from either end of a queue, and return their number."""
        before = self.messages["removed"]
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            pop = chance.choice((self._system.broker.lpop, self._system.broker.rpop))
            if queue is not None and pop(queue) is not None:
                self.messages["removed"] += 1
        return self.messages["removed"] - before

    def _double(self, chance: random.Random) -> int:
        """Add copies of messages to the end of their queue, and return their number."""
        before = self.messages["doubled"]
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            messages = self._system.broker.lrange(queue, 0, -1) if queue is not None else []
            if queue is not None and messages:
                self._system.broker.lpush(queue, chance.choice(messages))
                self.messages["doubled"] += 1
        return self.messages["doubled"] - before

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
