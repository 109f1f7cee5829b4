"""Read and write what people decided about one image of a job.

One object an image, `_jobs/{job}/reviews/{index}.json`, is the truth. Writes are conditional, so
that of two people who decide at the same time one learns of the other.
"""

import logging
from dataclasses import dataclass
from typing import Final

from producer.services import Services
from shared.errors import ObjectMissing, ServiceUnavailable
from shared.job.record import ItemRecord
from shared.job.review import Decision, Review, StoredReview, review_key
from shared.job.spec import JobSpec
from shared.job.written import written_objects
from shared.objects.object_metadata import generation_of
from shared.objects.protocol import PreconditionFailed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """What is decided about: the main output of an item as it is now."""

    etag: str | None
    """None if the item has no output, or it is not there any more."""
    generation: int
    """Generation that wrote it; that of the job for an item without output."""


class ReviewConflict(Exception):
    """Somebody else has decided about the item."""

    def __init__(self, there: StoredReview | None) -> None:
        super().__init__("another decision stands")
        self.there: Final = there
        """The review that stands; None if there is none any more."""


def subject_of(services: Services, spec: JobSpec, job_id: str, record: ItemRecord) -> Subject:
    """Return what a decision about *record* is about.

    It is the output that was written last: the cutout, if there is one.
    """
    objects = [written.key for written in written_objects(spec, job_id, record)]
    info = services.objects.head(spec.output_bucket, objects[-1]) if objects else None
    if info is None:
        return Subject(None, services.jobs.queries.status(job_id).generation)
    return Subject(info.etag, generation_of(info))


def read(services: Services, bucket: str, job_id: str, index: int) -> StoredReview | None:
    """Return the review of an item, or None if nobody has decided about it."""
    try:
        body = services.objects.get(bucket, review_key(job_id, index))
    except ObjectMissing:
        return None
    return StoredReview(etag=body.etag, review=Review.model_validate_json(body.data))


def decide(
    services: Services,
    bucket: str,
    job_id: str,
    index: int,
    decision: Decision,
    *,
    if_match: str | None,
) -> StoredReview:
    """Write a decision; when this returns, it is in the bucket.

    Args:
        services: The services that hold the job.
        bucket: Output bucket of the job.
        job_id: The job.
        index: Index of the item.
        decision: The decision.
        if_match: ETag of the review that the decision follows; None for the first decision.

    Raises:
        ReviewConflict: If another review is there.
    """
    there = None if if_match is None else read(services, bucket, job_id, index)
    if if_match is not None and (there is None or there.etag != if_match):
        raise ReviewConflict(there)
    first = Review(index=index, history=(decision,))
    review = first if there is None else there.review.followed_by(decision)
    try:
        etag = services.objects.put(
            bucket,
            review_key(job_id, index),
            review.model_dump_json().encode(),
            content_type="application/json",
            if_absent=if_match is None,
            if_match=if_match,
        )
    except PreconditionFailed as err:
        found = read(services, bucket, job_id, index)
        if found is None or found.review != review:
            raise ReviewConflict(found) from err
        stored = found  # our own: the answer to a first try was lost
    else:
        stored = StoredReview(etag=etag, review=review)
    try:
        services.jobs.reviews.update(job_id, stored)
    except ServiceUnavailable:  # the decision is made; lists show it when the copies have expired
        logger.warning("a decision was not copied to Redis", extra={"job": job_id, "item": index})
    return stored
