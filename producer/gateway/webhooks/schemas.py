"""Bodies of responses about webhooks."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from shared.webhooks import Delivery, DeliveryState


class WebhookSecret(BaseModel):
    """By what the receiver of webhooks verifies their signatures."""

    secret: str
    """As libraries of Standard Webhooks take it, `whsec_...`."""


class DeliveryInfo(BaseModel):
    """An event of a job, and how far its delivery is."""

    webhook_id: str
    job_id: str
    event: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    """When the next attempt is due; null when there is none."""
    ended_at: datetime | None
    """When it was delivered or given up."""
    error: str | None
    """Why the latest attempt failed."""

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Return what callers may see of *delivery*: not its address, which may be a secret."""
        is_pending = delivery.state is DeliveryState.PENDING
        return cls(
            **delivery.model_dump(include=set(cls.model_fields) - {"next_at"}),
            next_at=delivery.next_at if is_pending else None,
        )


class Deliveries(BaseModel):
    """The events of a job that somebody is told of."""

    webhooks: list[DeliveryInfo]
