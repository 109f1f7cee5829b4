"""What webhooks of the API of Replicate are told: the prediction, when it has ended."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from starlette.concurrency import run_in_threadpool

from producer.gateway.fronts.replicate_documents import (
    Prediction,
    document,
    error_of,
    status_of,
)
from producer.gateway.webhooks.awaited import Awaited, AwaitedEnds
from producer.services import Services
from shared.job.record import ItemRecord
from shared.job.written import written_objects
from shared.jobstore.light import LightResult

API: Final = "replicate"
EVENT: Final = "prediction.completed"
LINK_S: Final = 24 * 3600
"""How long the link to a picture is valid: as long as the picture is kept, in seconds."""
_LOST: Final = "the prediction was lost; create it again"


def awaited(tenant: str, url: str, address: str, prediction: Prediction) -> Awaited:
    """Return the note of a prediction that is about to be created.

    Args:
        tenant: Whom it belongs to.
        url: Whom to tell.
        address: Address of the API.
        prediction: The prediction.
    """
    return Awaited(
        job_id=prediction.job_id,
        tenant=tenant,
        event=EVENT,
        url=url,
        api=API,
        context={"id": prediction.id, "address": address},
        created_at=datetime.now(UTC),
    )


@asynccontextmanager
async def told(ends: AwaitedEnds, webhook: Awaited | None) -> AsyncIterator[None]:
    """Note a webhook while its prediction is created in the block; forget it after an error."""
    if webhook is None:
        yield
        return
    await run_in_threadpool(ends.add, webhook)
    try:
        yield
    except Exception:
        await run_in_threadpool(ends.drop, webhook.job_id)
        raise


def body_of(services: Services, webhook: Awaited, result: LightResult | None) -> str:
    """Return the prediction as JSON.

    Args:
        services: The services.
        webhook: What was noted at its creation.
        result: Its result; None: Redis has lost it.
    """
    prediction, address = Prediction.of(webhook.context["id"]), webhook.context["address"]
    if result is None:
        lost = document(
            prediction,
            address,
            status="failed",
            output=None,
            error=_LOST,
            created_at=webhook.created_at,
            finished_at=None,
        )
        return json.dumps(lost)
    status = services.jobs.queries.status(webhook.job_id)
    made = [each for each in result.records if each.error is None]
    body = document(
        prediction,
        address,
        status=status_of(result),
        output=_link(services, webhook.job_id, made[0]) if made else None,
        error=error_of(result),
        created_at=status.created_at,
        finished_at=status.finished_at,
    )
    return json.dumps(body)


def _link(services: Services, job_id: str, record: ItemRecord) -> str | None:
    """Return a link to the picture; None without a public address of the object store."""
    if services.public is None:
        return None
    spec = services.jobs.queries.spec(job_id)
    written = list(written_objects(spec, job_id, record))
    return services.public.sign(spec.output_bucket, written[0].key, expires_s=LINK_S)
