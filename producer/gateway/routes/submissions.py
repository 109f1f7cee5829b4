"""`/v1/submissions`: lists that are too long to wait for."""

from typing import Final

from fastapi import APIRouter

from producer.gateway.accepted import SubmissionStatus
from producer.gateway.access import Reader
from producer.gateway.context import Here
from producer.gateway.problems import not_found
from producer.gateway.routes.jobs import JobId

router: Final = APIRouter(prefix="/v1/submissions", tags=["jobs"])


@router.get("/{submission_id}", operation_id="getSubmission")
def submission(gateway: Here, key: Reader, submission_id: JobId) -> SubmissionStatus:
    """Return what became of a submission; it is kept for a week after its end."""
    known = gateway.accepting.submissions.find(submission_id)
    if known is None or known.tenant != key.tenant:
        raise not_found(f"submission {submission_id}")
    return known.status
