"""Delete old uploads and old ends of submissions, once an hour."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from producer.gateway.accepted import AcceptedSubmissions
from producer.gateway.problems import unforeseen
from producer.services import Services
from shared.errors import ServiceUnavailable
from shared.job import manifest
from shared.job.notes import SUBMITTED, UPLOADED
from shared.job.spec import TERMINAL_STATES
from shared.job.upload_keys import folder_of
from shared.objects import ObjectStore

logger = logging.getLogger(__name__)

EVERY_S: Final = 3600.0
KEEP: Final = timedelta(days=7)
_PAGE: Final = 1000


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Housekeeping:
    """Deletes what gateways need not keep; any number of them may do it at once."""

    objects: ObjectStore
    output_bucket: str
    upload_bucket: str
    is_needed: Callable[[str], bool]
    """Return whether an open job of a tenant names uploads."""
    now: Callable[[], datetime] = _now

    def round(self) -> None:
        """Delete uploads and ends of submissions that are older than a week.

        The days of uploads are those of their keys, so they are kept for up to eight days. Those of
        a tenant with an open job over uploads stay until it has ended.

        Raises:
            ServiceUnavailable: If Redis or the object store is unavailable.
        """
        limit = self.now() - KEEP
        stays = f"{UPLOADED}/{limit:%Y-%m-%d}"
        notes = self.objects.list(self.output_bucket, f"{UPLOADED}/")
        for note in takewhile(lambda each: each.key < stays, notes):
            day, tenant = note.key.split("/")[-2:]
            if not self.is_needed(tenant):
                found = self.objects.list(self.upload_bucket, f"{folder_of(tenant)}{day}/")
                self.objects.delete(self.upload_bucket, (each.key for each in found))
                self.objects.delete(self.output_bucket, [note.key])
        ends = self.objects.list(self.output_bucket, f"{SUBMITTED}/")
        old = (each.key for each in ends if each.modified_at < limit)
        self.objects.delete(self.output_bucket, old)


class HousekeepingThread:
    """Does it once an hour."""

    def __init__(self, services: Services, upload_bucket: str) -> None:
        self._services = services
        self._upload_bucket = upload_bucket
        self._is_leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after what is in progress."""
        self._is_leaving.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_leaving.is_set():
            services = self._services
            bucket = services.settings.output_bucket
            try:
                Housekeeping(services.objects, bucket, self._upload_bucket, self.is_needed).round()
            except ServiceUnavailable as err:
                logger.warning("housekeeping waits for a service", extra={"cause": str(err)})
            except Exception as err:  # noqa: BLE001 - the thread must go on
                unforeseen(err)
            self._is_leaving.wait(EVERY_S)

    def is_needed(self, tenant: str) -> bool:
        """Return whether an open job or a waiting submission of a tenant names uploads."""
        folder = folder_of(tenant)
        return any(key.startswith(folder) for key in self._first_keys(tenant))

    def _first_keys(self, tenant: str) -> Iterator[str]:
        """Yield the first key of each open job and waiting submission: the others are alike."""
        services = self._services
        waiting = AcceptedSubmissions(services.objects, services.settings.output_bucket).waiting()
        yield from (
            each.wanted.keys[0]
            for each in waiting
            if each.key.tenant == tenant and each.wanted.keys is not None
        )
        before = 0
        while True:
            queries = services.jobs.queries
            found, before = queries.jobs_of(tenant, before=before, count=_PAGE)
            for job in found:
                if job.state not in TERMINAL_STATES:
                    chunk = queries.manifest_chunk(job.job_id, 0)
                    yield from manifest.unpack(chunk)[:1] if chunk is not None else ()
            if not before:
                return
