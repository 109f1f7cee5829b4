"""Join what people decided about images to the records of a job.

All reviews of a job are read from their copies in Redis, or with one listing of the bucket and
`reviews.jsonl`, which holds copies, too.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from producer.bounded import each
from producer.results import reviews
from producer.results.reader import output_bucket
from producer.services import Services
from shared.errors import ObjectMissing, UnknownJob
from shared.job.record import ItemRecord
from shared.job.review import StoredReview, folded_key, review_folder
from shared.job.spec import JobSpec
from shared.objects.protocol import PreconditionFailed

logger = logging.getLogger(__name__)

FOLD: Final = 1000
"""Reviews that are read one by one before they are copied into `reviews.jsonl`."""
_THREADS: Final = 8
_PAGE: Final = 500


def all_of(services: Services, job_id: str, *, fold_from: int = FOLD) -> Mapping[int, StoredReview]:
    """Return the reviews of a job by index; usually from their copies in Redis.

    Args:
        services: The services that hold the job.
        job_id: The job.
        fold_from: Reviews that are read one by one before they are copied into `reviews.jsonl`.
    """
    found = services.jobs.reviews.cached(job_id)
    if found is None:
        bucket = output_bucket(services, job_id)
        folded, over = _folded(services, bucket, job_id)
        found = list(_listed(services, bucket, job_id, folded))
        if sum(folded.get(each.review.index) != each for each in found) >= fold_from:
            _fold(services, bucket, job_id, found, over)
        services.jobs.reviews.keep(job_id, found)
    return {stored.review.index: stored for stored in found}


@dataclass(frozen=True)
class Reviewed:
    """A record and what was decided about its image."""

    record: ItemRecord
    stored: StoredReview | None = None
    is_stale: bool = False
    """Whether the output has been replaced since the decision."""


def joined(services: Services, job_id: str, records: Iterable[ItemRecord]) -> Iterator[Reviewed]:
    """Yield *records* with the decisions that stand; asks for the output of each decided image."""
    found = all_of(services, job_id)
    if not found:
        yield from map(Reviewed, records)
        return
    spec = _spec(services, job_id)

    def join(record: ItemRecord) -> Reviewed:
        stored = found.get(record.index)
        if stored is None or stored.review.standing is None:
            return Reviewed(record, stored)
        return Reviewed(record, stored, is_stale(services, spec, job_id, record, stored))

    remaining = iter(records)
    while page := list(islice(remaining, _PAGE)):
        yield from each(join, page, threads=_THREADS)


def is_stale(
    services: Services,
    spec: JobSpec | None,
    job_id: str,
    record: ItemRecord,
    stored: StoredReview,
) -> bool:
    """Return whether a decision is about an output that is no longer there.

    Without its document (*spec*), which Redis deletes some days after the end of a job, the
    outputs of an item are not known: the decision counts.
    """
    standing = stored.review.standing
    if spec is None or standing is None:
        return False
    subject = reviews.subject_of(services, spec, job_id, record)
    return not standing.is_about(subject.etag, subject.generation)


def _listed(
    services: Services, bucket: str, job_id: str, folded: Mapping[int, StoredReview]
) -> Iterator[StoredReview]:
    """Yield all reviews from one listing; those that are *folded* are not read again."""
    keys = [(info.key, info.etag) for info in services.objects.list(bucket, review_folder(job_id))]

    def fetch(named: tuple[str, str]) -> StoredReview | None:
        key, etag = named
        index = int(key.rpartition("/")[2].removesuffix(".json"))
        held = folded.get(index)
        if held is not None and held.etag == etag:
            return held
        return reviews.read(services, bucket, job_id, index)

    found = each(fetch, keys, threads=_THREADS)
    return (stored for stored in found if stored is not None)


def _folded(
    services: Services, bucket: str, job_id: str
) -> tuple[dict[int, StoredReview], str | None]:
    try:
        body = services.objects.get(bucket, folded_key(job_id))
    except ObjectMissing:
        return {}, None
    lines = map(StoredReview.model_validate_json, body.data.splitlines())
    return {stored.review.index: stored for stored in lines}, body.etag


def _fold(
    services: Services, bucket: str, job_id: str, found: list[StoredReview], over: str | None
) -> None:
    """Copy reviews into `reviews.jsonl`; the objects stay, so that nothing can be lost."""
    lines = "".join(f"{stored.model_dump_json()}\n" for stored in found)
    try:
        services.objects.put(
            bucket,
            folded_key(job_id),
            lines.encode(),
            content_type="application/jsonl",
            if_absent=over is None,
            if_match=over,
        )
    except PreconditionFailed:
        logger.debug("another gateway has copied the reviews", extra={"job": job_id})


def _spec(services: Services, job_id: str) -> JobSpec | None:
    try:
        return services.jobs.queries.spec(job_id)
    except UnknownJob:
        return None
