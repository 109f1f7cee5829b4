"""One image of a job for a person: its record, why it is doubtful, and decisions about it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi.responses import JSONResponse

from producer.gateway import redo
from producer.gateway.context import Gateway
from producer.gateway.files import PREVIEW, SOURCE, record_of
from producer.gateway.problems import CONTENT_TYPE, TYPE_PREFIX, Problem
from producer.gateway.review_schemas import (
    ItemFile,
    ItemView,
    ReviewProblem,
    ReviewRequest,
    ReviewView,
)
from producer.results import reviews
from producer.results.reviews import ReviewConflict, Subject
from producer.services import Services
from shared.access import ApiKey
from shared.job.findings import findings
from shared.job.record import ItemRecord
from shared.job.review import Choice, Decision, StoredReview
from shared.job.spec import JobSpec
from shared.job.written import written_objects

_CONFLICT: Final = "review-conflict"


def view(services: Services, spec: JobSpec, job_id: str, index: int) -> ItemView:
    """Return what a person needs to decide about an item.

    Raises:
        Problem: If the item does not exist or has not ended.
    """
    record = record_of(services, job_id, index)
    subject = reviews.subject_of(services, spec, job_id, record)
    stored = reviews.read(services, spec.output_bucket, job_id, index)
    shown = None
    if stored is not None:
        shown = ReviewView.of(stored, stale=_is_stale(stored, subject))
    return ItemView(
        **{name: getattr(record, name) for name in record.model_fields_set},
        reasons=list(reasons_of(record)),
        files=list(_files(spec, job_id, record)),
        output_etag=subject.etag,
        review=shown,
    )


def decide(
    gateway: Gateway, key: ApiKey, spec: JobSpec, item: tuple[str, int], wanted: ReviewRequest
) -> ReviewView:
    """Write a decision, and return the review when it is in the bucket.

    With `redo`, the job that processes the image again is created afterwards.

    Args:
        gateway: The gateway.
        key: The API key of the caller.
        spec: The document of the job.
        item: The job and the index of the item.
        wanted: The decision.

    Raises:
        Problem: If the item does not exist or has not ended, or its output has been replaced.
        ReviewConflict: If another decision stands.
        ConfigError: If the image cannot be redone like this; nothing is decided.
    """
    services = gateway.services
    job_id, index = item
    record = record_of(services, job_id, index)
    is_redo = wanted.decision is Choice.REDO
    planned = redo.check(gateway, spec, job_id, wanted.redo) if is_redo else None
    subject = reviews.subject_of(services, spec, job_id, record)
    if wanted.output_etag is not None and wanted.output_etag != subject.etag:
        raise Problem(
            HTTPStatus.CONFLICT,
            "output-replaced",
            f"image {index} has been replaced since it was read; look at it again",
        )
    child = redo.child_id(job_id, index, wanted.if_match) if is_redo else None
    decision = Decision(
        decision=wanted.decision,
        note=wanted.note,
        who=key.name,
        at=datetime.now(UTC),
        generation=subject.generation,
        etag=subject.etag,
        child=child,
    )
    stored = reviews.decide(
        services, spec.output_bucket, job_id, index, decision, if_match=wanted.if_match
    )
    if planned is not None and child is not None:
        redo.start(gateway, key, planned, (job_id, record), child)
    return ReviewView.of(stored)


def conflict(err: ReviewConflict) -> JSONResponse:
    """Return the response that shows the decision that stands."""
    there = None if err.there is None else ReviewView.of(err.there)
    body = ReviewProblem(
        type=f"{TYPE_PREFIX}{_CONFLICT}",
        title="Review conflict",
        status=HTTPStatus.CONFLICT,
        detail="another decision stands; send its etag as if_match to replace it",
        review=there,
    )
    return JSONResponse(
        body.model_dump(mode="json", exclude={"errors"}),
        HTTPStatus.CONFLICT,
        media_type=CONTENT_TYPE,
    )


def reasons_of(record: ItemRecord) -> Iterator[str]:
    """Yield why an item needs a look."""
    if record.error is not None:
        yield record.error.get("reason", "")
    for each in findings(record):
        if each.is_must:
            value = "" if each.value is None else f" {each.value}"
            limit = "" if each.limit is None else f", limit {each.limit}"
            yield f"{each.output}: {each.check}{value}{limit}"


def _files(spec: JobSpec, job_id: str, record: ItemRecord) -> Iterator[ItemFile]:
    written = dict.fromkeys(each.output for each in written_objects(spec, job_id, record))
    for name in (SOURCE, PREVIEW, *written):
        yield ItemFile(name=name, url=f"/v1/jobs/{job_id}/items/{record.index}/files/{name}")


def _is_stale(stored: StoredReview, subject: Subject) -> bool:
    standing = stored.review.standing
    return standing is not None and not standing.is_about(subject.etag, subject.generation)
