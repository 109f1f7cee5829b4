"""The Python API: submit image keys, look at jobs, iterate over results, wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Unpack

from producer.results import reader as reading
from producer.results.repair import Repair
from producer.results.verify import Verifier
from producer.services import Services
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.errors import RmbgError
from shared.job.spec import TERMINAL_STATES, Priority
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from producer.results.verify import Finding
    from producer.submission.options import OptionArguments
    from shared.job.record import ItemRecord
    from shared.jobstore.values import JobStatus

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class Client:
    """A producer for programs; one may be used from several threads.

    Every method may raise `RedisUnavailable`, and those that read records or submit may raise
    `StoreUnavailable` or `BucketUnavailable`; see `shared.errors` for what is done about each.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._services = Services(settings)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Client:
        """Return a client with the settings of *env*, usually `os.environ`.

        Raises:
            InvalidOption: With one line for each variable that cannot be used.
        """
        return cls(ServiceSettings.from_env(env))

    def submit(
        self, keys: Iterable[str], *, bucket: str | None = None, **options: Unpack[OptionArguments]
    ) -> str:
        """Make a job over *keys* and return its id; a repetition joins the running job.

        Args:
            keys: Full image keys; walked once and never held together.
            bucket: Where the keys lie; None: the only allowed input bucket.
            **options: Fields of `producer.submission.options.JobOptions`; the defaults save
                cutouts and masks.

        Raises:
            NoKeys: If there is no key; nothing was created.
            ConfigError: If the options cannot be used; nothing was created.
        """
        asked = JobOptions.of(**options)
        spec = plan(self._services, asked, bucket)
        return submit(self._services, KeySource(keys), spec, job_id=asked.job_id).job_id

    def remove(
        self,
        image_key: str,
        *,
        timeout_s: float = 60.0,
        bucket: str | None = None,
        **options: Unpack[OptionArguments],
    ) -> ItemRecord:
        """Have one picture done ahead of all bulk work, and wait for its record.

        The record says whether it is done or failed, and where the pictures are.

        Raises:
            TimeoutError: After *timeout_s*; the job goes on, and a repetition joins it.
        """
        options["priority"] = Priority.INTERACTIVE
        job_id = self.submit([image_key], bucket=bucket, **options)
        for _ in _until(timeout_s, f"{image_key} (job {job_id})"):
            status = self.status(job_id)
            if status.done + status.failed or status.state in TERMINAL_STATES:
                for record in self.results(job_id):
                    return record
            if status.state in TERMINAL_STATES:
                break
        raise RmbgError(f"job {job_id} was cancelled before {image_key} had ended")

    def status(self, job_id: str) -> JobStatus:
        """Return where a job stands.

        Raises:
            UnknownJob: If Redis knows no such job; its records may still be in the bucket.
        """
        return self._services.jobs.queries.status(job_id)

    def jobs(self) -> list[JobStatus]:
        """Return all jobs that Redis knows, newest first."""
        return self._services.jobs.queries.jobs()

    def results(self, job_id: str, *, follow: bool = False) -> Iterator[ItemRecord]:
        """Iterate over a job's records in item order, as they are known now.

        Args:
            job_id: The job.
            follow: Wait for each next record until the job has ended.

        Raises:
            UnknownJob: On the first step, if neither Redis nor the bucket knows the job.
        """
        if follow:
            return reading.follow(
                self._services, job_id, pause=lambda: time.sleep(_LONGEST_PAUSE_S)
            )
        return reading.records(self._services, job_id)

    def failures(self, job_id: str) -> Iterator[ItemRecord]:
        """Iterate over the records of failed items, each with class and reason."""
        return reading.failures(self._services, job_id)

    def wait(self, job_id: str, timeout_s: float) -> JobStatus:
        """Wait until a job has ended, and return its last state.

        Raises:
            TimeoutError: After *timeout_s*; the job goes on.
        """
        for _ in _until(timeout_s, f"job {job_id}"):
            status = self.status(job_id)
            if status.state in TERMINAL_STATES:
                break
        return status

    def cancel(self, job_id: str) -> None:
        """Stop a job: nothing new starts; what was in flight still counts."""
        self._services.jobs.submissions.cancel(job_id)
        self._services.feed()

    def retry(self, job_id: str) -> int:
        """Have a done job's failed items redone, and return how many those are.

        Raises:
            JobNotDone: If the job has not ended by itself.
        """
        count = self._services.jobs.submissions.retry(job_id)
        self._services.feed()
        return count

    def verify(self, job_id: str, *, deep: bool = False, repair: bool = False) -> list[Finding]:
        """Return where the bucket does not hold what a job's records say, in order of keys.

        Args:
            job_id: The job.
            deep: Compare every picture's parameters as well, which asks for each.
            repair: Have the images done again of which pictures are missing or damaged.

        Raises:
            UnknownJob: If Redis knows no such job.
            JobNotDone: With *repair*, if the job has not ended by itself, or was opened again.
        """
        verifier = Verifier(self._services, job_id, deep=deep)
        mending = Repair(self._services, verifier.status) if repair else None
        found = list(verifier.findings())
        if mending is not None:
            for finding in found:
                mending.add(finding)
            mending.reopen()
        return found


def _until(timeout_s: float, what: str) -> Iterator[None]:
    """Yield at growing intervals.

    Raises:
        TimeoutError: Instead of yielding, once *timeout_s* have passed.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        yield
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"{what} had not ended after {timeout_s:g} s")
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
