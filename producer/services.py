"""The services a producer talks to, each opened when it is first needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from producer.deadline import within
from shared.errors import RedisUnavailable
from shared.jobstore.store import JobStore
from shared.settings import ServiceSettings, redact

if TYPE_CHECKING:
    from celery import Celery

    from shared.jobstore.values import Issued
    from shared.objects import ObjectStore


ANSWER_S: Final = 6.0
"""How long Redis may take for its first answer: a command fails in less than 10 s."""


def reach(url: str) -> JobStore:
    """Return the job store at *url*, which has just answered.

    Raises:
        RedisUnavailable: If it does not, within `ANSWER_S`; names the address without password.
    """
    store = JobStore.connect(url)
    silent = f"Redis at {redact(url)} gave no answer within {ANSWER_S:.0f} s"
    try:
        within(ANSWER_S, store.ping, late=RedisUnavailable(silent))
    except RedisUnavailable as err:
        raise RedisUnavailable(f"{err}; check RMBG_REDIS_URL and that the service is up") from err
    return store


class Services:
    """Job store, object store and broker of one set of settings.

    Nothing is connected before it is used: `rmbg status` needs no S3, and only what publishes
    tickets pays for importing Celery.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings

    @cached_property
    def jobs(self) -> JobStore:
        """The job store; that it answers is made sure of at the first use.

        Raises:
            RedisUnavailable: If it does not, within `ANSWER_S`.
        """
        return reach(self.settings.store_url)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        from shared.objects import S3Store  # noqa: PLC0415 - boto3 takes 0.2 s to import

        return S3Store(self.settings.objects)

    def publish(self, issued: Iterable[Issued]) -> int:
        """Send messages for issued tickets; see `shared.broker.app.publish`."""
        from shared.broker import app as queue  # noqa: PLC0415 - Celery takes 0.3 s to import

        return queue.publish(self._app, issued)

    def feed(self) -> int:
        """Publish what the job store wants published now; return how many tickets that were.

        Workers do the same each second; a producer does it too, so that a fleet scaled to zero
        has a message to wake up for.
        """
        return self.publish(self.jobs.fleet.recover(empty_queues=()))

    @cached_property
    def _app(self) -> Celery:
        from shared.broker import app as queue  # noqa: PLC0415 - Celery takes 0.3 s to import

        return queue.make_app(self.settings.broker_url)
