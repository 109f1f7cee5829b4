"""Choose the faults of a run and their times from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final


class Kind(StrEnum):
    """Faults that are caused from outside."""

    KILL = "kill"
    """SIGKILL to a worker, at any stage."""
    TERMINATE = "terminate"
    """SIGTERM to a worker; it is restarted."""
    FREEZE = "freeze"
    """SIGSTOP to a worker for longer than its lease, then SIGCONT: it resumes without its lease."""
    REDIS_KILL = "redis-kill"
    """SIGKILL to Redis, which restarts with its complete append-only file."""
    POWER_LOSS = "power-loss"
    """SIGKILL to Redis, and up to a second of its append-only file is lost, cut at any byte."""
    MESSAGE_REMOVED = "message-removed"
    MESSAGE_DOUBLED = "message-doubled"
    RESET = "reset"
    """Redis closes every client's connection."""
    HALF_OPEN = "half-open"
    """Connections to Redis stay open and carry no more data; new connections work."""
    STORE_503 = "store-503"
    STORE_STALL = "store-stall"
    """Requests to S3 are delayed beyond the client's timeout, and then carried out."""
    STORE_REPLY_LOST = "store-reply-lost"
    """Requests to S3 are carried out, and the connection is closed without a response."""
    STORE_501 = "store-501"
    """S3 answers writes as if it had no conditional ones; jobs wait with that reason."""
    STORE_SLOW = "store-slow"
    """Writes to S3 take half of the client's timeout."""
    DEVICE_LOST = "device lost"
    """The device of a worker is lost during a batch; the worker leaves and is restarted."""
    SUPERVISOR_KILL = "supervisor-kill"
    """SIGKILL to the supervisor of a part of the fleet; its workers die with it."""
    REDIS_FAILOVER = "redis-failover"
    """SIGKILL to Redis; a replica is read-only for a while and then becomes the primary."""
    CANCEL = "cancel"
    """A job of its own is cancelled in mid-run."""
    RETRY = "retry"
    """The failed items of a job of its own are retried."""
    REPAIR = "repair"
    """Outputs of a job of its own are deleted and repaired."""


CYCLE: Final = (
    *(Kind.KILL,) * 3,
    *(Kind.TERMINATE,) * 2,
    *(Kind.FREEZE,) * 2,
    *(Kind.MESSAGE_REMOVED,) * 2,
    *(Kind.MESSAGE_DOUBLED,) * 2,
    *(Kind.STORE_REPLY_LOST,) * 2,
    Kind.REDIS_KILL,
    Kind.POWER_LOSS,
    Kind.RESET,
    Kind.HALF_OPEN,
    Kind.STORE_503,
    Kind.STORE_STALL,
    Kind.STORE_501,
    Kind.STORE_SLOW,
    Kind.DEVICE_LOST,
    Kind.SUPERVISOR_KILL,
    Kind.REDIS_FAILOVER,
)
"""One cycle of faults. Workers also crash by themselves."""
OPERATIONS: Final = (Kind.CANCEL, Kind.RETRY, Kind.REPAIR)
"""Added to the first cycle and to each third one after it: they take longer than a cycle."""
GAP_S: Final = (0.8, 2.0)
"""Shortest and longest time between two faults: several fall into one lease."""


@dataclass(frozen=True)
class Fault:
    """One scheduled fault."""

    at_s: float
    """Time after the first possible fault, in seconds."""
    kind: Kind
    seed: int
    """Seed of the fault's own random choices."""


def plan(seed: int, seconds: float, *, first: Kind | None = None) -> list[Fault]:
    """Return the faults of one run in order; equal arguments give equal faults.

    Every cycle has all faults of `CYCLE` in random order, and the first one has all of `OPERATIONS`
    too, so that each kind occurs within the first cycle (38 s). *first* comes before it.
    """
    chance = random.Random(seed)
    upcoming: list[Kind] = [] if first is None else [first]
    faults: list[Fault] = []
    cycles = count()
    at_s = chance.uniform(*GAP_S)
    while at_s < seconds:
        if not upcoming:
            kinds = CYCLE if next(cycles) % 3 else CYCLE + OPERATIONS
            upcoming = chance.sample(kinds, len(kinds))
        faults.append(Fault(at_s, upcoming.pop(), chance.getrandbits(32)))
        at_s += chance.uniform(*GAP_S)
    return faults
