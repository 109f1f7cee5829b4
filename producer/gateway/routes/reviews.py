"""`/v1/reviews/claim`: images of all jobs that somebody should decide about."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query

from producer.gateway import claims
from producer.gateway.access import Reviewer
from producer.gateway.claims import TAB, Claim, ClaimRequest
from producer.gateway.context import Here

router: Final = APIRouter(prefix="/v1/reviews/claim", tags=["items"])


@router.post("", operation_id="claimReviews")
def claim(gateway: Here, key: Reviewer, wanted: ClaimRequest) -> Claim:
    """Lease the most doubtful undecided images to a tab for two minutes.

    Nobody else gets them meanwhile. Repeat it within that time, at least every 30 s, to keep them:
    images that the tab has come first.
    """
    return claims.claim(gateway.services, key, wanted)


@router.delete("", operation_id="releaseReviews", status_code=HTTPStatus.NO_CONTENT)
def release(
    gateway: Here,
    key: Reviewer,
    tab: Annotated[str, Query(pattern=TAB, description="As in the claim")],
) -> None:
    """Give all images of a tab back, so that others get them at once."""
    claims.release(gateway.services, key, tab)
