"""The Python API: submit image keys, follow jobs, read results."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Self, TypeVar, Unpack

from producer.patience import Patience
from producer.results import reader, reviewed
from producer.results.repair import Repair
from producer.results.rerender import rerender
from producer.results.reviewed import Reviewed
from producer.results.verify import Finding, Verifier
from producer.services import Services
from producer.submission.options import JobOptions, OptionArguments
from producer.submission.outputs import GivenOutput
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.errors import RmbgError
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES, Priority
from shared.jobstore.values import JobStatus
from shared.settings import ServiceSettings

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_Answer = TypeVar("_Answer")


class Client:
    """A client for the job queue; safe to use from several threads.

    Every method may raise `RedisUnavailable`; those that wait for a job do so only after 60 s
    without Redis. Methods that submit or read records may also raise
    `StoreUnavailable` or `BucketUnavailable`. See `shared.errors` for the meaning of each error.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._services = Services(settings)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Return a client configured by *env*, usually `os.environ`.

        Raises:
            InvalidOption: If a variable is invalid; the message has one line for each.
        """
        return cls(ServiceSettings.from_env(env))

    def submit(
        self, keys: Iterable[str], *, bucket: str | None = None, **options: Unpack[OptionArguments]
    ) -> str:
        """Create a job from image keys and return its ID.

        Submitting the same keys and options again while the job runs joins that job.

        Args:
            keys: Full image keys, or URLs `s3://bucket/key` of objects in *bucket*; read once, and
                never all held in memory.
            bucket: Input bucket of the keys; None for the only allowed one.
            **options: Fields of `producer.submission.options.JobOptions`; by default cutouts and
                masks are saved.

        Raises:
            NoKeys: If *keys* is empty; no job is created.
            ConfigError: If an option is invalid; no job is created.
        """
        checked = JobOptions.of(**options)
        spec = plan(self._services, checked, bucket)
        source = KeySource(keys, spec.input_bucket)
        files = checked.outputs.files
        submitted = submit(self._services, source, spec, job_id=checked.job_id, files=files)
        for warning in submitted.warnings:
            logger.warning("%s", warning, extra={"job_id": submitted.job_id})
        return submitted.job_id

    def remove(
        self,
        image_key: str,
        *,
        timeout_s: float = 60.0,
        bucket: str | None = None,
        **options: Unpack[OptionArguments],
    ) -> ItemRecord:
        """Process one image ahead of bulk jobs, wait for it and return its record.

        The record contains the state, `done` or `failed`, and the keys of the outputs.

        Raises:
            TimeoutError: After *timeout_s*; the job continues, and the same call joins it.
            RmbgError: If the job is cancelled before the image is processed.
        """
        options["priority"] = Priority.INTERACTIVE
        job_id = self.submit([image_key], bucket=bucket, **options)

        def ended() -> ItemRecord | None:
            status = self.status(job_id)
            is_over = status.state in TERMINAL_STATES
            if status.done + status.failed or is_over:
                for record in self.results(job_id):
                    return record
            if is_over:
                raise RmbgError(f"job {job_id} was cancelled before {image_key} was processed")
            return None

        return _first(ended, timeout_s, f"{image_key} (job {job_id})")

    def status(self, job_id: str) -> JobStatus:
        """Return a job's status.

        Raises:
            UnknownJob: If Redis does not know the job; its records may still be in the bucket.
        """
        return self._services.jobs.queries.status(job_id)

    def jobs(self) -> list[JobStatus]:
        """Return all jobs in Redis, newest first."""
        return self._services.jobs.queries.jobs()

    def results(self, job_id: str, *, follow: bool = False) -> Iterator[ItemRecord]:
        """Iterate over a job's records in item order.

        Args:
            job_id: ID of the job.
            follow: Wait for further records until the job ends; otherwise yield those known now.

        Raises:
            UnknownJob: At the first step, if neither Redis nor the bucket knows the job.
        """
        services = self._services
        if follow:
            return reader.follow(services, job_id, patience=Patience())
        return reader.records(services, job_id)

    def reviewed(self, job_id: str) -> Iterator[Reviewed]:
        """Iterate over a job's records in item order, each with what people decided about it.

        A decision is stale if the output has been replaced since. This costs a request for each
        image that somebody has decided about.

        Raises:
            UnknownJob: At the first step, if neither Redis nor the bucket knows the job.
        """
        return reviewed.joined(self._services, job_id, self.results(job_id))

    def failures(self, job_id: str) -> Iterator[ItemRecord]:
        """Iterate over the records of failed items, each with error class and reason."""
        return reader.failures(self._services, job_id)

    def wait(self, job_id: str, timeout_s: float) -> JobStatus:
        """Wait until a job ends, and return its final status.

        Raises:
            TimeoutError: After *timeout_s*; the job continues.
        """
        _ = self._services.jobs  # without patience: the address may be wrong

        def ended() -> JobStatus | None:
            status = self.status(job_id)
            return status if status.state in TERMINAL_STATES else None

        return _first(ended, timeout_s, f"job {job_id}")

    def cancel(self, job_id: str) -> None:
        """Cancel a job: no further item starts; items in progress are finished and recorded.

        Raises:
            UnknownJob: If Redis does not know the job.
        """
        self._services.cancel(job_id)

    def retry(self, job_id: str) -> int:
        """Retry the failed items of a done job, and return their number.

        Raises:
            UnknownJob: If Redis does not know the job.
            JobNotDone: If the job is still running or was cancelled.
        """
        return self._services.retry(job_id)

    def rerender(self, job_id: str, outputs: Sequence[GivenOutput]) -> str:
        """Make new outputs for the images of a done job from its masks; return the new job's ID.

        See `producer.results.rerender`.

        Args:
            job_id: ID of the job; its records must still be there.
            outputs: Presets, recipe files and recipes; neither cutout nor mask.

        Raises:
            UnknownJob: If Redis does not know the job.
            JobNotDone: If the job is still running or was cancelled.
            InvalidOption: If no output is given, or one cannot be made of masks.
        """
        return rerender(self._services, job_id, outputs).job_id

    def verify(self, job_id: str, *, deep: bool = False, repair: bool = False) -> list[Finding]:
        """Compare a job's records with the bucket; return missing, damaged and extra outputs.

        Args:
            job_id: ID of the job.
            deep: Also check the parameters of every output, with one request for each.
            repair: Process the items with missing or damaged outputs again.

        Returns:
            The faults in the order of keys.

        Raises:
            UnknownJob: If Redis does not know the job.
            JobNotDone: With *repair*, if the job is running, was cancelled or was restarted
                meanwhile.
        """
        verifier = Verifier(self._services, job_id, deep=deep)
        if not repair:
            return list(verifier.findings())
        repairs = Repair(self._services, verifier.status)
        found = list(repairs.collect(verifier.findings()))
        repairs.reopen()
        return found


def _first(ask: Callable[[], _Answer | None], timeout_s: float, what: str) -> _Answer:
    """Call *ask* at growing intervals of up to `_LONGEST_PAUSE_S`; return its first answer.

    Raises:
        TimeoutError: After *timeout_s*; names *what* has not ended.
    """
    deadline = time.monotonic() + timeout_s
    pause_s, patience = _FIRST_PAUSE_S, Patience()
    while True:
        with patience:
            if (answer := ask()) is not None:
                return answer
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"{what} has not ended after {timeout_s:g} s")
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
