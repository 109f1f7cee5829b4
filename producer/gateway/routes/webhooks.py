"""Webhooks: the secret that verifies them, and how far those of a job are."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Path

from producer.gateway.access import Reader, Submitter
from producer.gateway.context import Here
from producer.gateway.problems import not_found
from producer.gateway.routes.jobs import JobId
from producer.gateway.tenancy import own_spec
from producer.gateway.webhooks.schemas import Deliveries, DeliveryInfo, WebhookSecret
from shared.webhooks.outbox import WEBHOOK_ID

router: Final = APIRouter(prefix="/v1", tags=["webhooks"])
WebhookId: TypeAlias = Annotated[
    str, Path(pattern=f"^{WEBHOOK_ID.pattern}$", description="ID of an event, `Webhook-Id`")
]


@router.get("/webhooks/secret", operation_id="getWebhookSecret")
def secret(gateway: Here, key: Submitter) -> WebhookSecret:
    """Return the secret by which the tenant verifies the signatures of webhooks."""
    return WebhookSecret(secret=gateway.webhooks.secret_of(key.tenant))


@router.get("/jobs/{job_id}/webhooks", operation_id="listWebhooks")
def listed(gateway: Here, key: Reader, job_id: JobId) -> Deliveries:
    """List the events of a job that its webhook is told of, also of a job that Redis has lost."""
    found = [each.delivery for each in gateway.webhooks.outbox.of_job(job_id)]
    own = [each for each in found if each.tenant == key.tenant]
    if not own:
        own_spec(gateway.services, key, job_id)
    return Deliveries(webhooks=[DeliveryInfo.of(each) for each in own])


@router.post(
    "/jobs/{job_id}/webhooks/{webhook_id}/resend",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="resendWebhook",
)
def resend(gateway: Here, key: Submitter, job_id: JobId, webhook_id: WebhookId) -> DeliveryInfo:
    """Send an event again, with all attempts; its ID stays the same."""
    outbox = gateway.webhooks.outbox
    found = outbox.find(job_id, webhook_id)
    is_own = found is not None and found.delivery.tenant == key.tenant
    again = outbox.begin_again(job_id, webhook_id, datetime.now(UTC)) if is_own else None
    if again is None:
        raise not_found(f"webhook {webhook_id}")
    return DeliveryInfo.of(again)
