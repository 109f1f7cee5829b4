"""Fill the queue of a job's doubtful images from what the job left in the bucket."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from producer.results import reader, reviewed
from producer.services import Services
from shared.errors import ObjectMissing
from shared.job.doubts import Doubt, Doubts, doubts_key, read
from shared.job.review import Review
from shared.jobstore.review_queue import QueuedDoubt
from shared.objects.object_metadata import generation_of

FIRST_GENERATION: Final = 1


def fill(services: Services, job_id: str, generation: int) -> None:
    """Fill the queue of an ended job with its doubtful images.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
        StoreUnavailable: If the object store is unavailable.
    """
    decided = {
        index: stored.review
        for index, stored in reviewed.all_of(services, job_id).items()
        if stored.review.decided_by
    }
    stale = set(_stale(services, job_id, decided)) if generation > FIRST_GENERATION else set()

    def queued(doubt: Doubt) -> QueuedDoubt:
        is_stale = doubt.index in stale
        return QueuedDoubt(
            doubt,
            is_decided=doubt.index in decided and not is_stale,
            outdated=len(decided[doubt.index].history) if is_stale else 0,
        )

    found = _doubts(services, job_id, generation)
    services.jobs.review_queue.fill(job_id, generation, map(queued, found))


def _doubts(services: Services, job_id: str, generation: int) -> Iterable[Doubt]:
    """Return the doubts that the merge has written, or those of the records."""
    bucket, key = reader.output_bucket(services, job_id), doubts_key(job_id)
    info = services.objects.head(bucket, key)
    if info is not None and generation_of(info) == generation:
        try:
            return read(services.objects.get(bucket, key).data.splitlines())
        except ObjectMissing:
            pass
    doubts = Doubts()
    for record in reader.records(services, job_id):
        doubts.add(record)
    return read(doubts.lines())


def _stale(services: Services, job_id: str, decided: Mapping[int, Review]) -> Iterator[int]:
    """Yield the images that have been replaced since somebody has decided about them."""
    records = (each for each in reader.records(services, job_id) if each.index in decided)
    return (
        each.record.index for each in reviewed.joined(services, job_id, records) if each.is_stale
    )
