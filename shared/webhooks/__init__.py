"""Ends of jobs that somebody is to be told of: written by workers, delivered by gateways."""

from shared.webhooks.announcement import announce
from shared.webhooks.delivery import Delivery, DeliveryState
from shared.webhooks.outbox import Outbox, Stored

__all__ = ["Delivery", "DeliveryState", "Outbox", "Stored", "announce"]
