"""`/v1/jobs/{id}/results`: the records of a job's images."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from producer.gateway.access import Reader
from producer.gateway.context import Gateway, Here
from producer.gateway.review_schemas import ReviewedPage, ReviewedRecord
from producer.gateway.routes.jobs import JobId
from producer.gateway.schemas import LinkedRecord, RecordQuery
from producer.gateway.tenancy import own_spec
from producer.results import reader
from producer.results.links import linker
from producer.results.reviewed import joined
from shared.access import ApiKey
from shared.job.record import ItemRecord

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
NDJSON: Final = "application/x-ndjson"


@router.get(
    "/{job_id}/results",
    operation_id="listRecords",
    response_model=ReviewedPage,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def results(
    gateway: Here,
    key: Reader,
    job_id: JobId,
    wanted: Annotated[RecordQuery, Query()],
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Any:  # noqa: ANN401 - the schema is in the decorator
    """Return the records that are known now, in the order of the images.

    A page of JSON, or with `Accept: application/x-ndjson` all records from `cursor` on as JSON
    lines.
    """
    found = _found(gateway, key, job_id, wanted)
    if accept is not None and NDJSON in accept:
        lines = (record.model_dump_json(exclude_unset=True) + "\n" for record in found)
        return StreamingResponse(lines, media_type=NDJSON)
    page = list(islice(found, wanted.limit + 1))
    following = page[wanted.limit].index if len(page) > wanted.limit else None
    return ReviewedPage(records=page[: wanted.limit], next=following)


def _found(
    gateway: Gateway, key: ApiKey, job_id: str, wanted: RecordQuery
) -> Iterator[ReviewedRecord]:
    """Return an iterator over the records; raise before it if the job is not the tenant's."""
    services = gateway.services
    own_spec(services, key, job_id)
    link = linker(services, job_id) if wanted.links else None
    records = filter(wanted.includes, reader.records(services, job_id, start=wanted.cursor))

    def linked(record: ItemRecord) -> LinkedRecord:
        if link is None:
            return LinkedRecord.from_json(record.to_json())
        return LinkedRecord.model_validate(link(record))

    return (
        ReviewedRecord.of(linked(each.record), each) for each in joined(services, job_id, records)
    )
