"""Whom a job tells of its end."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.document import Document


class JobEvent(StrEnum):
    """How a job has ended."""

    DONE = "job.done"
    """At least one of its images is done."""
    FAILED = "job.failed"
    """None of its images is done."""
    CANCELLED = "job.cancelled"


class Webhook(Document):
    """An address that is told how a job has ended."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = Field(repr=False)
    """A public address; may hold a secret of its owner."""
    events: Annotated[tuple[JobEvent, ...], Field(min_length=1, max_length=10)] = tuple(JobEvent)
    """The ends that it wants to know; by default all."""
