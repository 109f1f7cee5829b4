"""When a delivery is attempted again, and when it ends: no clock, no network."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from shared.webhooks import Delivery, DeliveryState

DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Times between two attempts: ten attempts within about three days."""
MAX_ATTEMPTS: Final = len(DELAYS) + 1
JITTER: Final = 0.2
"""Share by which a delay may be shorter or longer, so that receivers are not all asked at once."""
ATTEMPT: Final = timedelta(seconds=60)
"""Time for which a delivery belongs to the gateway that attempts it; longer than an attempt."""
LONGEST: Final = timedelta(hours=24)
"""Longest wait that a receiver may ask for."""


@dataclass(frozen=True)
class Accepted:
    """The receiver has the event."""


@dataclass(frozen=True)
class Gone:
    """The receiver wants no events any more."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The attempt failed."""

    reason: str
    retry_after: timedelta = timedelta(0)
    """What the receiver asks for."""


Outcome: TypeAlias = Accepted | Gone | Failed


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Return whether somebody should attempt *delivery* now."""
    return delivery.state is DeliveryState.PENDING and delivery.next_at <= now


def begun(delivery: Delivery, now: datetime) -> Delivery:
    """Return *delivery* with an attempt that begins at *now*.

    Until the attempt should have ended, nobody else begins one. It is counted now, so that one that
    ends its process is not repeated for ever.
    """
    update = {"attempts": delivery.attempts + 1, "next_at": now + ATTEMPT}
    return delivery.model_copy(update=update)


def ended(delivery: Delivery, outcome: Outcome, now: datetime, rng: random.Random) -> Delivery:
    """Return *delivery* after the outcome of its latest attempt."""
    match outcome:
        case Accepted():
            return _closed(delivery, DeliveryState.DELIVERED, None, now)
        case Gone(reason):
            return _closed(delivery, DeliveryState.DEAD, reason, now)
        case Failed(reason) if delivery.attempts >= MAX_ATTEMPTS:
            return _closed(delivery, DeliveryState.DEAD, reason, now)
        case Failed(reason, retry_after):
            delay = DELAYS[delivery.attempts - 1] * rng.uniform(1 - JITTER, 1 + JITTER)
            next_at = now + max(delay, min(retry_after, LONGEST))
            return delivery.model_copy(update={"next_at": next_at, "error": reason})


def _closed(delivery: Delivery, state: DeliveryState, error: str | None, now: datetime) -> Delivery:
    return delivery.model_copy(update={"state": state, "error": error, "ended_at": now})
