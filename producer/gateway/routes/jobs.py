"""`/v1/jobs`: create, read, cancel and retry jobs."""

from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import JSONResponse

from producer.gateway.accepted import SubmissionStatus
from producer.gateway.access import Reader, Submitter
from producer.gateway.context import Here
from producer.gateway.lists import is_long
from producer.gateway.openapi import job_links
from producer.gateway.schemas import JobPage, JobRequest, Retried
from producer.gateway.submission import accept_job, create_job
from producer.gateway.tenancy import own_spec
from shared.job.ticket import JOB_ID
from shared.jobstore.values import JobStatus

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
JobId: TypeAlias = Annotated[str, Path(pattern=f"^{JOB_ID.pattern}$", description="ID of a job")]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Names the request: a repetition with the same key and body joins its job.",
    ),
]
_LOCATION: Final[dict[str, Any]] = {
    "Location": {"schema": {"type": "string"}, "description": "Address of the job"}
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    operation_id="createJob",
    response_model=JobStatus,
    responses={
        HTTPStatus.CREATED: {"headers": _LOCATION, "links": job_links("$response.body#/job_id")},
        HTTPStatus.ACCEPTED: {
            "description": "A long list; `Location` names the submission",
            "model": SubmissionStatus,
            "headers": _LOCATION,
        },
    },
)
def create(
    gateway: Here,
    key: Submitter,
    wanted: JobRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobStatus | Response:
    """Create a job; the same request again while it runs joins it.

    A list of over 10,000 images is accepted (202) and becomes a job afterwards.
    """
    if is_long(gateway.services.objects, key, wanted):
        accepted = accept_job(gateway, key, wanted, idempotency_key)
        headers = {"Location": f"/v1/submissions/{accepted.submission_id}"}
        body = accepted.model_dump(mode="json")
        return JSONResponse(body, HTTPStatus.ACCEPTED, headers)
    submitted = create_job(gateway, key, wanted, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{submitted.job_id}"
    return gateway.services.jobs.queries.status(submitted.job_id)


@router.get("", operation_id="listJobs")
def listed(
    gateway: Here,
    key: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(pattern="^[1-9][0-9]{0,17}$")] = None,
) -> JobPage:
    """List the jobs of the tenant, newest first."""
    before = int(cursor or 0)
    found, following = gateway.services.jobs.queries.jobs_of(key.tenant, before=before, count=limit)
    return JobPage(jobs=found, next=str(following) if following else None)


@router.get("/{job_id}", operation_id="getJob")
def status(gateway: Here, key: Reader, job_id: JobId) -> JobStatus:
    """Return the status of a job."""
    own_spec(gateway.services, key, job_id)
    return gateway.services.jobs.queries.status(job_id)


@router.post("/{job_id}/cancel", operation_id="cancelJob")
def cancel(gateway: Here, key: Submitter, job_id: JobId) -> JobStatus:
    """Cancel a job: no further image starts, and those in progress are finished and recorded."""
    own_spec(gateway.services, key, job_id)
    gateway.services.cancel(job_id)
    return gateway.services.jobs.queries.status(job_id)


@router.post("/{job_id}/retry", operation_id="retryJob")
def retry(gateway: Here, key: Submitter, job_id: JobId) -> Retried:
    """Process the failed images of a done job again."""
    own_spec(gateway.services, key, job_id)
    return Retried(images=gateway.services.retry(job_id))
