"""Pictures that a front's caller asks for again: how far they are, and where they are."""

import base64
from dataclasses import dataclass
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool

from producer.gateway.context import Gateway
from producer.gateway.files import LINK_S
from producer.gateway.light import STILL_RUNNING, LightJob, Upload, picture_of, process, start
from producer.gateway.problems import Problem
from producer.gateway.tenancy import own_spec
from shared.access import ApiKey
from shared.job.record import ItemRecord
from shared.job.spec import JobState
from shared.job.written import written_objects


@dataclass(frozen=True)
class Progress:
    """How far a light job is."""

    job: LightJob
    state: JobState
    record: ItemRecord | None

    @property
    def error(self) -> str | None:
        """Why the image failed."""
        if self.record is None or self.record.error is None:
            return None
        return f"{self.record.error.get('class')}: {self.record.error.get('reason')}"


def progress(gateway: Gateway, key: ApiKey, job_id: str) -> Progress:
    """Return how far a light job of the key's tenant is.

    Raises:
        Problem: If there is no such job.
    """
    spec = own_spec(gateway.services, key, job_id)
    result = gateway.services.jobs.light.result(job_id)
    record = result.records[0] if result.records else None
    return Progress(LightJob(job_id, spec), result.state, record)


async def begin(
    gateway: Gateway, key: ApiKey, job: LightJob, image: Upload, wait_s: float
) -> Progress:
    """Submit the job of *image*; wait for at most *wait_s*, and return how far it is.

    Raises:
        Problem: If too many callers wait.
    """
    if wait_s <= 0:
        await run_in_threadpool(start, gateway, job, image)
    else:
        try:
            await process(gateway, job, image, wait_s=wait_s)
        except Problem as err:
            if err.name not in (STILL_RUNNING, "job-cancelled"):
                raise
    return await run_in_threadpool(progress, gateway, key, job.job_id)


def address_of(gateway: Gateway, found: Progress) -> str:
    """Return where the picture of a done image is: a link for an hour, else a data URL.

    Raises:
        Problem: If the picture has been deleted.
    """
    if found.record is None:
        raise Problem(HTTPStatus.NOT_FOUND, "not-found", "this picture does not exist")
    if (public := gateway.services.public) is not None:
        written = list(written_objects(found.job.spec, found.job.job_id, found.record))
        bucket = found.job.spec.output_bucket
        return public.sign(bucket, written[0].key, expires_s=LINK_S)
    picture = picture_of(gateway, found.job, found.record)
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
