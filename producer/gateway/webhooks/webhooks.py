"""What a gateway does with webhooks: accept, sign and deliver them, or refuse them all."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Self

from producer.gateway.fetch import Fetcher, allowed_by
from producer.gateway.fronts import replicate_webhooks
from producer.gateway.problems import invalid
from producer.gateway.settings import GatewaySettings
from producer.gateway.webhooks.awaited import AwaitedEnds
from producer.gateway.webhooks.notifier import Notifier
from producer.gateway.webhooks.sender import ANSWER_BYTES, TIMEOUT_S, Sender
from producer.gateway.webhooks.signing import Signer
from producer.services import Services
from shared.webhooks import Outbox


@dataclass(frozen=True)
class Webhooks:
    """The webhooks of a gateway."""

    services: Services
    fetcher: Fetcher
    """Sends requests to receivers."""
    signer: Signer | None
    """None: webhooks are refused, as there is no secret to sign with."""

    @classmethod
    def of(cls, settings: GatewaySettings, services: Services) -> Self:
        """Return the webhooks of a gateway with *settings*."""
        fetcher = Fetcher(ANSWER_BYTES, TIMEOUT_S, allowed_by(settings), is_cut=True)
        secrets = settings.webhook_secrets
        return cls(services, fetcher, Signer(secrets) if secrets else None)

    @property
    def outbox(self) -> Outbox:
        """The deliveries."""
        return Outbox(self.services.objects, self.services.settings.output_bucket)

    @property
    def awaited(self) -> AwaitedEnds:
        """The light jobs whose end somebody is to be told of."""
        writers = {replicate_webhooks.API: partial(replicate_webhooks.body_of, self.services)}
        return AwaitedEnds(self.outbox, self.services.jobs.light, writers)

    def secret_of(self, tenant: str) -> str:
        """Return the secret by which a tenant verifies what it receives.

        Raises:
            Problem: If this gateway signs nothing.
        """
        if self.signer is None:
            raise invalid(
                "this gateway sends no webhooks; its operator must set RMBG_GATEWAY_WEBHOOK_SECRETS"
            )
        return self.signer.secret_of(tenant)

    def check(self, tenant: str, url: str) -> None:
        """Check that events of *tenant* can be sent to *url*, as far as that is known now.

        Raises:
            Problem: If not.
        """
        self.secret_of(tenant)
        self.fetcher.check(url)

    async def run(self) -> None:
        """Deliver for ever, or wait for ever without a secret; cancel it to stop."""
        if self.signer is None:
            await asyncio.Event().wait()
            return
        sender = Sender(self.fetcher, self.signer)
        collect = self.awaited.collect
        await Notifier(self.outbox, self.services.jobs, sender, collect=collect).run()
