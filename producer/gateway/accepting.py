"""Make accepted submissions into jobs, in a thread of each gateway."""

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from producer.gateway.accepted import Accepted, AcceptedSubmissions
from producer.gateway.lists import source_of
from producer.gateway.problems import problem_of, unforeseen
from producer.services import Services
from producer.submission.sources import Source
from producer.submission.submit import submit
from shared.errors import JobConflict, RmbgError, ServiceUnavailable

logger = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""Time between two looks for submissions of gateways that are gone, in seconds."""
HOLD_S: Final = 60.0
"""Time after which another gateway takes a submission over, in seconds."""
_RENEW_S: Final = 10.0
_RELEASE_S: Final = 0.001
"""A hold that ends at once."""


class _Leaving(Exception):
    """The gateway leaves; the submission waits for another one."""


class Accepting:
    """Makes accepted submissions into jobs, one after the other."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner: Final = secrets.token_hex(8)
        self._is_leaving = threading.Event()
        self._is_due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="accepting", daemon=True)

    @property
    def submissions(self) -> AcceptedSubmissions:
        """The documents."""
        return AcceptedSubmissions(self._services.objects, self._services.settings.output_bucket)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is in progress waits for another gateway, or for the next start."""
        self._is_leaving.set()
        self._is_due.set()
        self._thread.join()

    def wake(self) -> None:
        """Look for submissions now."""
        self._is_due.set()

    def _run(self) -> None:
        while not self._is_leaving.is_set():
            self._is_due.clear()
            try:
                for accepted in self.submissions.waiting():
                    self._take(accepted)
            except _Leaving:
                return
            except ServiceUnavailable as err:
                logger.warning("submissions wait for a service", extra={"cause": str(err)})
            except Exception as err:  # noqa: BLE001 - the thread must go on
                unforeseen(err)
            self._is_due.wait(LOOK_S)

    def _take(self, accepted: Accepted) -> None:
        """Process a submission, unless another gateway does; if a service is down, it waits."""
        if not self._hold(accepted, HOLD_S, is_held=False):
            return
        try:
            self._process(accepted)
        except ServiceUnavailable as err:
            cause = {"submission_id": accepted.submission_id, "cause": str(err)}
            logger.warning("a submission waits for a service", extra=cause)
        finally:
            self._hold(accepted, _RELEASE_S, is_held=True)

    def _hold(self, accepted: Accepted, ttl_s: float, *, is_held: bool) -> bool:
        return self._services.jobs.submissions.hold(
            accepted.submission_id, self._owner, ttl_s, is_held=is_held
        )

    def _process(self, accepted: Accepted) -> None:
        """Create the job of a submission and write how that ended.

        Raises:
            ServiceUnavailable: If Redis or the object store is unavailable: the submission waits.
        """
        try:
            update: dict[str, object] = {"state": "done", "job_id": self._created(accepted)}
        except (ServiceUnavailable, _Leaving):
            raise
        except RmbgError as err:
            update = {"state": "failed", "problem": problem_of(err).document()}
        except Exception as err:  # noqa: BLE001 - the same would happen again and again
            update = {"state": "failed", "problem": unforeseen(err).document()}
        self.submissions.end(accepted, accepted.status.model_copy(update=update))
        logger.info("submission ended", extra={"submission_id": accepted.submission_id})

    def _created(self, accepted: Accepted) -> str:
        """Create the job, unless it exists: its gateway may have died after that."""
        services, job_id, key = self._services, accepted.job_id, accepted.key
        if job_id is not None and services.jobs.queries.is_known(job_id):
            return job_id
        source = source_of(services, key, accepted.wanted, accepted.spec)
        try:
            return submit(
                services,
                _Watched(source, self, accepted),
                accepted.spec,
                job_id=job_id,
                weight=key.weight,
                most_open=key.max_open_images,
            ).job_id
        except JobConflict:
            if job_id is None:
                raise
            return job_id  # of another gateway, which has read other keys below the same prefix

    def keep(self, accepted: Accepted) -> None:
        """Keep a submission that is in progress.

        Raises:
            _Leaving: If this gateway leaves.
        """
        if self._is_leaving.is_set():
            raise _Leaving
        self._hold(accepted, HOLD_S, is_held=True)


@dataclass(frozen=True)
class _Watched:
    """Keys whose submission is kept while they are read."""

    source: Source
    accepting: Accepting
    accepted: Accepted

    def __iter__(self) -> Iterator[str]:
        """See `Source.__iter__`."""
        due_s = 0.0
        for key in self.source:
            if time.monotonic() >= due_s:
                self.accepting.keep(self.accepted)
                due_s = time.monotonic() + _RENEW_S
            yield key

    def describe_empty(self) -> str:
        """See `Source.describe_empty`."""
        return self.source.describe_empty()

    def remark(self) -> str | None:
        """See `Source.remark`."""
        return self.source.remark()
