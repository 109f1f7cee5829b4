"""Connections of a producer to its services, opened on first use."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shared.deadline import within
from shared.errors import RedisUnavailable
from shared.jobstore.rules import Rules
from shared.jobstore.store import JobStore
from shared.jobstore.values import Issued
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from celery import Celery

    from shared.objects import ObjectStore, S3Store


ANSWER_S: Final = 6.0
"""Longest wait for Redis's first answer, in seconds: a command fails in less than 10 s."""
REDIS_CONNECTIONS: Final = 12
"""Connections of a producer to the job store. A gateway has many threads, but the server executes
one command after the other, and every connection costs it memory."""
PERSIST_S: Final = 5.0
"""Longest wait for Redis to write to disk, in seconds; the job exists without it too."""


def connect(url: str, rules: Rules) -> JobStore:
    """Return the job store at *url* under *rules* after it has answered.

    Raises:
        RedisUnavailable: If it does not answer within `ANSWER_S`; names the address without
            password.
    """
    store = JobStore.connect(url, rules=rules, most=REDIS_CONNECTIONS)
    late = f"{store.connection.where()} did not answer within {ANSWER_S:.0f} s"
    advice = "check RMBG_REDIS_URL and that Redis is running"
    within(ANSWER_S, store.ping, late=RedisUnavailable(f"{late}; {advice}"))
    return store


class Services:
    """The job store, object store and broker that the settings name.

    Each is connected on first use: `rmbg status` needs no S3, and only commands that publish
    tickets import Celery.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings

    @cached_property
    def jobs(self) -> JobStore:
        """The job store; the first use waits for its answer.

        Raises:
            RedisUnavailable: If it does not answer within `ANSWER_S`.
        """
        rules = Rules(allow_eviction=self.settings.allow_eviction)
        return connect(self.settings.store_url, rules)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        from shared.objects import S3Store  # noqa: PLC0415 - boto3 takes 0.2 s to import

        return S3Store(self.settings.objects)

    @cached_property
    def public(self) -> S3Store | None:
        """The object store as browsers reach it, for signed links; None without such an address."""
        from shared.objects import S3Store  # noqa: PLC0415 - boto3 takes 0.2 s to import

        settings = self.settings.objects
        if settings.public_endpoint is None:
            return None
        return S3Store(settings.model_copy(update={"endpoint": settings.public_endpoint}))

    def feed(self) -> None:
        """Publish the tickets that the job store issues now.

        Workers do the same every second; a producer does it too, so that a fleet scaled to zero
        receives a message to start for.
        """
        self.publish(self.jobs.fleet.recover(empty_queues=()))

    def publish(self, issued: Iterable[Issued]) -> None:
        """Publish tickets that the job store has issued."""
        from shared.broker import app as queue  # noqa: PLC0415 - Celery takes 0.3 s to import

        queue.publish(self._app, issued)

    def cancel(self, job_id: str) -> None:
        """Cancel a job, and wait until that is on Redis' disk.

        Images in progress are finished and recorded.

        Raises:
            UnknownJob: If Redis does not know the job.
        """
        self.jobs.submissions.cancel(job_id)
        self.feed()
        self.persist()

    def retry(self, job_id: str) -> int:
        """Start the failed items of a done job again, and return their number.

        Waits until that is on Redis' disk.

        Raises:
            UnknownJob: If Redis does not know the job.
            JobNotDone: If the job is still running or was cancelled.
        """
        items = self.jobs.submissions.retry(job_id)
        self.feed()
        self.persist()
        return items

    def persist(self) -> None:
        """Wait until Redis has written everything to disk, for at most `PERSIST_S`."""
        self.jobs.submissions.durable(PERSIST_S)

    @cached_property
    def _app(self) -> Celery:
        from shared.broker import app as queue  # noqa: PLC0415 - Celery takes 0.3 s to import

        return queue.make_app(self.settings.broker_url)
