"""Submissions of long lists, which become jobs after their callers have an answer.

They are documents in the output bucket, so that no loss of a gateway or of Redis loses one. One
that waits is at `WAITING`; when it has ended, a short document without its keys is at `ENDED`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from producer.gateway.problems import ProblemDocument
from producer.gateway.schemas import JobRequest
from shared.access import ApiKey
from shared.errors import ObjectMissing
from shared.job.notes import SUBMITTED, SUBMITTING
from shared.job.spec import JobSpec
from shared.objects import ObjectStore, PreconditionFailed

logger = logging.getLogger(__name__)
_JSON: Final = "application/json"


class SubmissionStatus(BaseModel):
    """A submission of a long list."""

    submission_id: str
    state: Literal["accepted", "done", "failed"]
    created_at: datetime
    job_id: str | None = None
    """Its job, when it is done."""
    problem: ProblemDocument | None = None
    """Why there is no job, if it has failed."""


class Accepted(BaseModel):
    """A submission that waits: all that is needed to create its job."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    submission_id: str
    job_id: str | None
    """ID that the job is to have; None derives one from keys and parameters."""
    body_sha256: str
    key: ApiKey
    """The caller's, without its hash."""
    wanted: JobRequest
    spec: JobSpec
    created_at: datetime

    @property
    def status(self) -> SubmissionStatus:
        """What the caller is told."""
        return SubmissionStatus(
            submission_id=self.submission_id, state="accepted", created_at=self.created_at
        )


class Known(BaseModel):
    """What is known of a submission, whether it waits or has ended."""

    tenant: str
    body_sha256: str
    status: SubmissionStatus


@dataclass(frozen=True)
class AcceptedSubmissions:
    """Reads and writes the documents."""

    objects: ObjectStore
    bucket: str

    def add(self, accepted: Accepted) -> None:
        """Write a submission; no effect if it waits already."""
        try:
            self.objects.put(
                self.bucket,
                f"{SUBMITTING}/{accepted.submission_id}",
                accepted.model_dump_json().encode(),
                content_type=_JSON,
                if_absent=True,
            )
        except PreconditionFailed:
            return

    def find(self, submission_id: str) -> Known | None:
        """Return what is known of a submission."""
        if (accepted := self._waiting(submission_id)) is not None:
            return Known(
                tenant=accepted.key.tenant,
                body_sha256=accepted.body_sha256,
                status=accepted.status,
            )
        found = self._read(f"{SUBMITTED}/{submission_id}")
        return None if found is None else Known.model_validate_json(found)

    def waiting(self) -> Iterator[Accepted]:
        """Yield the submissions that wait."""
        for found in self.objects.list(self.bucket, f"{SUBMITTING}/"):
            try:
                accepted = self._waiting(found.key.rpartition("/")[2])
            except ValidationError as err:  # of a later version, which has gateways of its own
                cause = {"key": found.key, "cause": str(err)}
                logger.warning("a submission cannot be read", extra=cause)
                continue
            if accepted is not None:
                yield accepted

    def end(self, accepted: Accepted, status: SubmissionStatus) -> None:
        """Write how a submission has ended; it waits no more."""
        known = Known(tenant=accepted.key.tenant, body_sha256=accepted.body_sha256, status=status)
        self.objects.put(
            self.bucket,
            f"{SUBMITTED}/{accepted.submission_id}",
            known.model_dump_json().encode(),
            content_type=_JSON,
        )
        self.objects.delete(self.bucket, [f"{SUBMITTING}/{accepted.submission_id}"])

    def _waiting(self, submission_id: str) -> Accepted | None:
        found = self._read(f"{SUBMITTING}/{submission_id}")
        return None if found is None else Accepted.model_validate_json(found)

    def _read(self, key: str) -> bytes | None:
        try:
            return self.objects.get(self.bucket, key).data
        except ObjectMissing:
            return None
