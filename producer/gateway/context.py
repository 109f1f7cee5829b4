"""What the routes of a gateway share."""

from dataclasses import dataclass
from typing import Annotated, Self, TypeAlias

from fastapi import Depends, Request

from producer.gateway.accepting import Accepting
from producer.gateway.archives import Readers
from producer.gateway.fetch import Fetcher, fetcher_of
from producer.gateway.housekeeping import HousekeepingThread
from producer.gateway.settings import GatewaySettings
from producer.gateway.streams import Streams
from producer.gateway.uploads import Uploads
from producer.gateway.waiting import Waiting
from producer.gateway.webhooks.webhooks import Webhooks
from producer.services import Services
from shared.jobstore.light import Endings


@dataclass(frozen=True)
class Gateway:
    """What a gateway consists of."""

    settings: GatewaySettings
    services: Services
    endings: Endings
    """Tells when light jobs end."""
    waiting: Waiting
    """Bounds the callers that wait for an image."""
    fetcher: Fetcher
    """Fetches the URLs that requests name."""
    archive_readers: Readers
    """Bounds the archives that a key reads."""
    streams: Streams
    """Tells callers how jobs go on."""
    accepting: Accepting
    """Makes long lists into jobs."""
    uploads: Uploads
    """Images that callers upload."""
    housekeeping: HousekeepingThread
    """Deletes old uploads."""
    webhooks: Webhooks
    """Tells receivers that jobs have ended."""

    @classmethod
    def of(cls, settings: GatewaySettings, services: Services) -> Self:
        """Return a gateway over *services*."""
        endings = Endings(services.jobs.connection)
        waiting = Waiting(settings.max_waiting)
        bucket = settings.upload_bucket or services.settings.output_bucket
        return cls(
            settings=settings,
            services=services,
            endings=endings,
            waiting=waiting,
            fetcher=fetcher_of(settings),
            archive_readers=Readers(),
            streams=Streams(services.jobs, most=settings.max_streams),
            accepting=Accepting(services),
            uploads=Uploads(services, bucket),
            housekeeping=HousekeepingThread(services, bucket),
            webhooks=Webhooks.of(settings, services),
        )

    @property
    def upload_bucket(self) -> str:
        """Bucket that images of requests are written to."""
        return self.uploads.bucket


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves *request*."""
    gateway: Gateway = request.app.state.gateway
    return gateway


Here: TypeAlias = Annotated[Gateway, Depends(gateway_of)]
"""Parameter of a route: the gateway."""
