"""Sign what is sent to receivers, as Standard Webhooks says."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

_PURPOSE: Final = b"rmbg-queue webhooks of tenant "


@dataclass(frozen=True)
class Signer:
    """Signs with a secret of each tenant, which is derived: nothing that can get lost is stored."""

    secrets: Sequence[str] = field(repr=False)
    """Texts that only gateways know, at least one; the first is the newest."""

    def secret_of(self, tenant: str) -> str:
        """Return the secret by which a tenant verifies signatures, `whsec_...`."""
        return _derived(self.secrets[0], tenant)

    def headers(self, tenant: str, webhook_id: str, body: str, now: datetime) -> Mapping[str, str]:
        """Return the headers of a request; there is one signature for each secret.

        Args:
            tenant: Whom the event belongs to.
            webhook_id: ID of the event.
            body: The body of the request.
            now: The time of the attempt, aware, in UTC.
        """
        keys = (Webhook(_derived(each, tenant)) for each in self.secrets)
        signatures = [key.sign(webhook_id, now, body) for key in keys]
        return {
            "Webhook-Id": webhook_id,
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": " ".join(signatures),
        }


def _derived(secret: str, tenant: str) -> str:
    key = hmac.new(secret.encode(), _PURPOSE + tenant.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(key).decode()}"
