"""Hand out images to people who decide about them."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from producer.gateway.problems import not_found
from producer.gateway.schemas import Body
from producer.gateway.tenancy import own_spec
from producer.results import review_queue
from producer.services import Services
from shared.access import ApiKey
from shared.job.spec import TERMINAL_STATES
from shared.job.ticket import JOB_ID
from shared.jobstore.review_queue import LEASE_S, Claimed, Wanted
from shared.jobstore.values import JobStatus

MOST_JOBS: Final = 100
"""Newest jobs of a tenant that a claim without a job looks at."""
TAB: Final = "^[A-Za-z0-9_-]{1,64}$"
_ROUNDS: Final = 3
"""Claims of a request: a queue may expire or be replaced between filling and claiming."""


class ClaimFilter(Body):
    """Which images are wanted."""

    verdict: Literal["review", "reject"] | None = None
    check: Annotated[str | None, Field(min_length=1, max_length=100, pattern="^[^,]*$")] = None
    """A figure of the mask or a check of an output that is the reason."""


class ClaimRequest(Body):
    """Images that somebody wants to decide about."""

    tab: Annotated[str, Field(pattern=TAB)]
    """Chosen by the caller for each window: images are leased to the API key and the tab."""
    job: Annotated[str, Field(pattern=f"^{JOB_ID.pattern}$")] | None = None
    """Only images of this job; by default those of the newest 100 jobs."""
    filter: ClaimFilter = ClaimFilter()
    count: Annotated[int, Field(ge=1, le=4)] = 1
    """Most images, with those that the tab has already."""


class ClaimedItem(BaseModel):
    """An image that the tab has for itself."""

    job_id: str
    index: int
    url: str
    """Address of the image at this gateway."""


class Claim(BaseModel):
    """What a tab has for itself."""

    items: list[ClaimedItem]
    expires_in_s: float
    """Time until others may get the images, unless the tab claims again."""
    waiting: int
    """Undecided images of these jobs, leased ones included, whatever the filter says."""


def claim(services: Services, key: ApiKey, wanted: ClaimRequest) -> Claim:
    """Lease the most doubtful undecided images to a tab, and renew those that it has.

    Raises:
        Problem: If the job does not exist.
    """
    jobs = _jobs(services, key, wanted.job)
    found = _claim(services, jobs, key, wanted)
    items = [
        ClaimedItem(job_id=job_id, index=index, url=f"/v1/jobs/{job_id}/items/{index}")
        for job_id, index in found.items
    ]
    return Claim(items=items, expires_in_s=LEASE_S, waiting=found.waiting)


def release(services: Services, key: ApiKey, tab: str) -> None:
    """Give all images of a tab back."""
    services.jobs.review_queue.release(_holder(key, tab))


def _claim(
    services: Services, jobs: Mapping[str, int], key: ApiKey, wanted: ClaimRequest
) -> Claimed:
    choice = Wanted(verdict=wanted.filter.verdict or "", check=wanted.filter.check or "")
    holder, queue = _holder(key, wanted.tab), services.jobs.review_queue
    found = queue.claim(jobs, holder, wanted.count, choice)
    for _ in range(_ROUNDS - 1):
        for job_id in found.missing:
            review_queue.fill(services, job_id, jobs[job_id])
        if not found.missing:
            break
        found = queue.claim(jobs, holder, wanted.count, choice)
    return found


def _jobs(services: Services, key: ApiKey, job_id: str | None) -> dict[str, int]:
    """Return the jobs whose images are handed out, each with its generation."""
    if job_id is None:
        statuses, _ = services.jobs.queries.jobs_of(key.tenant, count=MOST_JOBS)
    else:
        own_spec(services, key, job_id)
        statuses = services.jobs.queries.statuses([job_id])
        if not statuses:
            raise not_found(f"job {job_id}")
    return {each.job_id: each.generation for each in statuses if _has_doubts(each)}


def _has_doubts(status: JobStatus) -> bool:
    doubtful = sum(status.verdicts.get(each, 0) for each in ("review", "reject"))
    return status.state in TERMINAL_STATES and doubtful > 0


def _holder(key: ApiKey, tab: str) -> str:
    """Return who looks at images; the name of a key has no colon."""
    return f"{key.name}:{tab}"
