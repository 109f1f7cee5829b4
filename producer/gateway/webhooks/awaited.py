"""Light jobs whose end somebody is to be told of.

They have no merge that would write it. A note in the bucket, written before such a job exists, is
kept until a gateway has found the end and written the delivery.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from pydantic import ConfigDict, Field

from shared.document import Document
from shared.errors import ObjectMissing, RmbgError, UnknownJob
from shared.jobstore.light import LightJobs, LightResult
from shared.webhooks import Delivery, Outbox
from shared.webhooks.delivery import webhook_id
from shared.webhooks.outbox import NOTES

logger = logging.getLogger(__name__)

LOST_AFTER: Final = timedelta(minutes=2)
"""Age of a note from which a job that Redis does not know is lost, not about to be created."""
_FOLDER: Final = f"{NOTES}/awaited/"


class Awaited(Document):
    """A light job that has not ended. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    job_id: str
    tenant: str
    event: str
    url: str = Field(repr=False)
    api: str
    """What writes the event."""
    context: Mapping[str, str]
    """What it needs beside the job."""
    created_at: datetime


Write: TypeAlias = Callable[[Awaited, LightResult | None], str]
"""Returns the body of an event; the result is None if Redis has lost the job."""


@dataclass(frozen=True)
class AwaitedEnds:
    """The light jobs that somebody waits for."""

    outbox: Outbox
    jobs: LightJobs
    writers: Mapping[str, Write]
    """What writes events, by API."""

    def add(self, awaited: Awaited) -> None:
        """Note a job that is about to be created."""
        self.outbox.objects.put(
            self.outbox.bucket,
            _key(awaited.job_id),
            awaited.model_dump_json().encode(),
            content_type="application/json",
        )

    def drop(self, job_id: str) -> None:
        """Forget a job that was not created, or whose end is written."""
        self.outbox.objects.delete(self.outbox.bucket, [_key(job_id)])

    def collect(self, now: datetime) -> None:
        """Write the deliveries of the jobs that have ended; a repetition writes nothing more.

        Raises:
            RmbgError: If the bucket or Redis cannot be asked.
        """
        for each in self.outbox.objects.list(self.outbox.bucket, _FOLDER):
            try:
                self._collect(each.key, now)
            except RmbgError:
                raise
            except Exception:  # others go on
                logger.exception("webhook not written", extra={"cause": each.key})

    def _collect(self, key: str, now: datetime) -> None:
        try:
            body = self.outbox.objects.get(self.outbox.bucket, key)
        except ObjectMissing:
            return  # another gateway was faster
        awaited = Awaited.model_validate_json(body.data)
        result = self._result(awaited.job_id)
        is_young = now - awaited.created_at < LOST_AFTER
        if (result is None and is_young) or (result is not None and not result.has_ended):
            return
        created_at, event = awaited.created_at, awaited.event
        self.outbox.add(
            Delivery(
                webhook_id=webhook_id(awaited.job_id, created_at, event, generation=1),
                job_id=awaited.job_id,
                generation=1,
                tenant=awaited.tenant,
                event=event,
                url=awaited.url,
                body=self.writers[awaited.api](awaited, result),
                created_at=now,
                next_at=now,
            )
        )
        self.drop(awaited.job_id)

    def _result(self, job_id: str) -> LightResult | None:
        try:
            return self.jobs.result(job_id)
        except UnknownJob:
            return None


def _key(job_id: str) -> str:
    return f"{_FOLDER}{job_id}.json"
