"""Write that somebody is to be told of the end of a job."""

import json
from datetime import datetime

from shared.job.spec import JobSpec
from shared.job.webhook import JobEvent
from shared.jobstore.values import JobStatus
from shared.objects import ObjectStore
from shared.webhooks.delivery import Delivery, webhook_id
from shared.webhooks.outbox import Outbox


def announce(
    objects: ObjectStore, spec: JobSpec, status: JobStatus, now: datetime, *, is_cancelled: bool
) -> None:
    """Write the delivery of the end of a job, if its document has a webhook for this end.

    Call it before the end is committed: then no job ends without its delivery, and a repetition
    writes nothing more.

    Args:
        objects: The store of the output bucket.
        spec: The document of the job.
        status: Its status when all its images have ended.
        now: The time of the event.
        is_cancelled: Whether the job has been cancelled.
    """
    event = _event_of(status, is_cancelled=is_cancelled)
    if spec.webhook is None or event not in spec.webhook.events:
        return
    delivery = Delivery(
        webhook_id=webhook_id(status.job_id, status.created_at, event, status.generation),
        job_id=status.job_id,
        generation=status.generation,
        tenant=spec.tenant,
        event=event,
        url=spec.webhook.url,
        body=json.dumps(_payload(event, status, now), separators=(",", ":")),
        created_at=now,
        next_at=now,
    )
    Outbox(objects, spec.output_bucket).add(delivery)


def _event_of(status: JobStatus, *, is_cancelled: bool) -> JobEvent:
    if is_cancelled:
        return JobEvent.CANCELLED
    return JobEvent.DONE if status.done else JobEvent.FAILED


def _payload(event: JobEvent, status: JobStatus, now: datetime) -> dict[str, object]:
    return {
        "type": event,
        "timestamp": now.isoformat(timespec="milliseconds"),
        "data": {
            "job_id": status.job_id,
            "generation": status.generation,
            "total": status.total,
            "done": status.done,
            "failed": status.failed,
            "error_classes": status.error_classes,
            "verdicts": status.verdicts,
            "created_at": status.created_at.isoformat(timespec="milliseconds"),
        },
    }
