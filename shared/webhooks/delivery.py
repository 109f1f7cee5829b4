"""One event that somebody is to be told of, and how far that is."""

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict, Field

from shared.document import Document


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    """To be attempted, for the first time or again."""
    DELIVERED = "delivered"
    """The receiver has answered that it has the event."""
    DEAD = "dead"
    """Given up after the last attempt; `rmbg webhooks resend` begins again."""


class Delivery(Document):
    """One event for one receiver. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    webhook_id: str
    """The same in every attempt, so that the receiver recognises a repetition."""
    job_id: str
    generation: int
    """Generation of the job that has ended."""
    tenant: str
    event: str
    url: str = Field(repr=False)
    body: str = Field(repr=False)
    """What is sent: JSON, the same in every attempt."""
    created_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    """Attempts that have begun."""
    next_at: datetime
    """Time before which nobody attempts: that of the schedule, or the end of the attempt that a
    gateway has just begun."""
    ended_at: datetime | None = None
    """When it was delivered or given up."""
    error: str | None = None
    """Why the latest attempt failed."""

    def again(self, now: datetime) -> Self:
        """Return the delivery with all attempts before it; the first one is due at *now*."""
        begun = {"state": DeliveryState.PENDING, "attempts": 0, "next_at": now, "ended_at": None}
        return self.model_copy(update=begun)


def webhook_id(job_id: str, created_at: datetime, event: str, generation: int) -> str:
    """Return the ID of an event: the same whoever derives it, and however often.

    Args:
        job_id: The job.
        created_at: When it was created: a chosen ID may name another job later.
        event: The event.
        generation: Generation of the job; each has its own end.
    """
    named = json.dumps([job_id, int(created_at.timestamp() * 1000), event, generation])
    return f"wh_{hashlib.sha256(named.encode()).hexdigest()[:40]}"
