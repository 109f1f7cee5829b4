"""From a seed to what goes wrong, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What can be done to the system from outside."""

    KILL = "kill"
    """SIGKILL to a worker, wherever it is."""
    TERMINATE = "terminate"
    """SIGTERM to a worker; it is started again."""
    FREEZE = "freeze"
    """SIGSTOP to a worker for longer than its lease, then SIGCONT: a zombie."""
    REDIS_KILL = "redis-kill"
    """SIGKILL to Redis, which comes back with its whole append-only file."""
    POWER_LOSS = "power-loss"
    """The same, and up to a second of the append-only file is gone, cut anywhere."""
    MESSAGE_REMOVED = "message-removed"
    MESSAGE_DOUBLED = "message-doubled"
    RESET = "reset"
    """Redis closes every client's connection."""
    HALF_OPEN = "half-open"
    """Connections to Redis stay open and carry nothing any more; new ones are fine."""
    STORE_503 = "store-503"
    STORE_STALL = "store-stall"
    """Requests to S3 are held for longer than the client waits, then carried out."""
    STORE_REPLY_LOST = "store-reply-lost"
    """Requests to S3 are carried out, and the connection is closed instead of an answer."""


DECK: Final = (
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
)
"""Every kind at least once in a deck; workers die of their own stages besides."""
GAP_S: Final = (0.8, 2.0)
"""From one fault to the next: several fall into one lease."""


@dataclass(frozen=True)
class Fault:
    """One thing that will go wrong."""

    at_s: float
    """Seconds after the start of the faults."""
    kind: Kind
    seed: int
    """For what the fault itself leaves to chance."""


def plan(seed: int, seconds: float, *, first: Kind | None = None) -> list[Fault]:
    """Return the faults of one run in order; the same for the same arguments.

    The deck is dealt, and shuffled again when it is used up, so that after its first 18 cards
    (25 s) every kind has come. *first* comes before it.
    """
    chance = random.Random(seed)
    deck: list[Kind] = [] if first is None else [first]
    faults: list[Fault] = []
    at_s = chance.uniform(*GAP_S)
    while at_s < seconds:
        if not deck:
            deck = chance.sample(DECK, len(DECK))
        faults.append(Fault(at_s, deck.pop(), chance.getrandbits(32)))
        at_s += chance.uniform(*GAP_S)
    return faults
