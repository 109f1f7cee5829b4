"""`/v1/jobs/{id}/archive`: the files of a job as ZIP files, or as signed links."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from producer.gateway.access import Reader
from producer.gateway.archives import Archive, Readers
from producer.gateway.context import Gateway, Here
from producer.gateway.file_schemas import ArchiveLink, ArchiveLinks, ArchiveQuery
from producer.gateway.files import LINK_S
from producer.gateway.problems import invalid, not_found
from producer.gateway.routes.jobs import JobId
from producer.gateway.tenancy import own_spec
from producer.results import archive, reader
from producer.results.archive import Part
from producer.results.links import LINKED
from shared.errors import JobNotDone
from shared.job.spec import TERMINAL_STATES, JobSpec

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
ZIP: Final = "application/zip"
PARTS: Final = "X-Rmbg-Parts"


class _Zip(StreamingResponse):
    """An archive, which is closed with the connection."""

    def __init__(self, made: Archive, headers: dict[str, str], readers: Readers, key: str) -> None:
        super().__init__(made.body(), media_type=ZIP, headers=headers)
        self._made, self._readers, self._key = made, readers, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the archive."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._made.close()
            self._readers.leave(self._key)


@router.get(
    "/{job_id}/archive",
    operation_id="getArchive",
    response_model=ArchiveLinks,
    responses={
        HTTPStatus.OK: {
            "description": "A part of the archive, or the links of its files",
            "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {PARTS: {"schema": {"type": "string"}, "description": "Number of parts"}},
        },
    },
)
async def get(
    *, gateway: Here, key: Reader, job_id: JobId, wanted: Annotated[ArchiveQuery, Query()]
) -> Response:
    """Return the files of an ended job in the order of its images, in parts of 10,000 or 2 GB.

    A file that is not there any more is named in `MISSING.txt`. `format=links` gives signed links
    instead of a ZIP.
    """
    spec = await run_in_threadpool(own_spec, gateway.services, key, job_id)
    part = await run_in_threadpool(_part, gateway, spec, job_id, wanted)
    headers = {PARTS: str(part.parts)}
    if wanted.format == "links":
        body = _links(gateway, spec, part).model_dump_json()
        return Response(body, media_type="application/json", headers=headers)
    gateway.archive_readers.enter(key.name)
    try:
        made = await run_in_threadpool(
            Archive, gateway.services.objects, spec.output_bucket, part.files
        )
    except BaseException:
        gateway.archive_readers.leave(key.name)
        raise
    headers["Content-Length"] = str(made.size_bytes)
    headers["Content-Disposition"] = f'attachment; filename="{job_id}-{wanted.part}.zip"'
    return _Zip(made, headers, gateway.archive_readers, key.name)


def _part(gateway: Gateway, spec: JobSpec, job_id: str, wanted: ArchiveQuery) -> Part:
    services = gateway.services
    if services.jobs.queries.status(job_id).state not in TERMINAL_STATES:
        raise JobNotDone(f"job {job_id} has not ended; its archive can be read afterwards")
    records = reader.records(services, job_id)
    files = archive.files_of(spec, job_id, records, wanted.output)
    if (part := archive.part_of(files, wanted.part)) is None:
        raise not_found(f"part {wanted.part} of this archive")
    return part


def _links(gateway: Gateway, spec: JobSpec, part: Part) -> ArchiveLinks:
    if spec.image_output not in LINKED:
        raise invalid(f"jobs with image_output {spec.image_output} have no links")
    store = gateway.services.public or gateway.services.objects
    links = [
        ArchiveLink(
            index=file.index,
            path=file.path,
            size_bytes=file.size_bytes,
            url=store.sign(spec.output_bucket, file.key, expires_s=LINK_S),
        )
        for file in part.files
    ]
    return ArchiveLinks(links=links, parts=part.parts)
