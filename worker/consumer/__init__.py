"""From a Celery message to a closed ticket."""

from worker.consumer.build import Consumer, build_consumer
from worker.consumer.leases import Leases
from worker.consumer.recovery import Recovery

__all__ = ["Consumer", "Leases", "Recovery", "build_consumer"]
