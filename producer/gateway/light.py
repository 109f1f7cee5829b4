"""Process one image while its caller waits: a light job over an upload."""

import asyncio
import hashlib
import io
import secrets
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Self

from starlette.concurrency import run_in_threadpool

from producer.gateway.context import Gateway
from producer.gateway.problems import Problem, invalid, not_found
from producer.gateway.schemas import RemoveRequest
from producer.gateway.submission import job_id_of, named_outputs
from producer.submission.copies import Copies
from producer.submission.options import JobOptions
from shared.access import ApiKey
from shared.job.features import LIGHT
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput, JobSpec, Previews, Priority
from shared.job.written import WrittenObject, written_objects
from shared.jobstore.light import LightResult
from shared.recipes import Recipe
from shared.recipes.background import Asset, StoredAsset
from shared.recipes.formats import MEDIA_TYPES

STILL_RUNNING: Final = "still-running"
"""Name of the problem of an image that takes too long."""
ASK_S: Final = 1.0
"""Time after which a caller that waits asks Redis, in case the message of the end got lost."""


@dataclass(frozen=True)
class Upload:
    """An image as it came in the body of a request."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Picture:
    """A finished file, or several in a ZIP."""

    data: bytes
    media_type: str
    file_name: str

    @property
    def extension(self) -> str:
        """Extension of the file name, without the dot."""
        return self.file_name.rpartition(".")[2]


@dataclass(frozen=True)
class LightJob:
    """A light job and its document."""

    job_id: str
    spec: JobSpec
    images: Mapping[str, bytes] = field(default_factory=dict)
    """Images that its outputs have as backgrounds, by SHA-256."""

    @property
    def location(self) -> str:
        """Where the job's status is."""
        return f"/v1/jobs/{self.job_id}"

    def on(self, background: bytes) -> Self:
        """Return the job with *background*, an image, as the background of all its outputs."""
        digest = hashlib.sha256(background).hexdigest()
        outputs = tuple(
            each.model_copy(
                update={
                    "recipe": each.recipe.model_copy(update={"background": StoredAsset(digest)})
                }
            )
            for each in self.spec.outputs
        )
        spec = self.spec.model_copy(update={"outputs": outputs})
        return replace(self, spec=spec, images={digest: background})


def prepare(
    gateway: Gateway, key: ApiKey, wanted: RemoveRequest, idempotency_key: str | None = None
) -> LightJob:
    """Return the job of a request, after every check that needs no image.

    Raises:
        ConfigError: If the request is not valid.
    """
    settings, now = gateway.services.settings, datetime.now(UTC)
    options = JobOptions.of(
        rem_mode=wanted.model or gateway.settings.model,
        image_output=ImageOutput.PREVIEW,
        priority=Priority.INTERACTIVE,
        previews=Previews.NONE,
        pictures=wanted.options,
        outputs=named_outputs(key, _without_images(wanted.outputs)),
        keep_mask="mask" in wanted.outputs,
        reuse_masks=False,
    )
    bucket = gateway.upload_bucket
    spec = options.to_spec(bucket, settings.output_bucket, now=now, commercial=settings.commercial)
    needs = {"light": True, "needs": (*spec.needs, LIGHT), "tenant": key.tenant}
    job_id = f"light-{secrets.token_hex(12)}"
    if idempotency_key is not None:
        job_id = job_id_of(key.tenant, "remove", idempotency_key)
    return LightJob(job_id, spec.model_copy(update=needs))


def _without_images(outputs: Sequence[str | Recipe]) -> Sequence[str | Recipe]:
    """Return *outputs*, none of which has an image as its background: only a job copies it."""
    for each in outputs:
        if isinstance(each, Recipe) and isinstance(each.background, Asset):
            raise invalid(f"background {each.background} is an image; submit a job for it")
    return outputs


def start(gateway: Gateway, job: LightJob, image: Upload) -> None:
    """Upload *image* and submit the job; a repetition with the same image joins it.

    Raises:
        JobConflict: If the job exists with another image or other parameters.
        ServiceUnavailable: If Redis or the object store is unavailable.
    """
    digest = hashlib.sha256(image.data).hexdigest()
    # The key follows from the job, so that a repetition writes the same object.
    source = gateway.uploads.key(job.spec.tenant, job.spec.date, job.job_id, image.name)
    services = gateway.services
    bucket = job.spec.output_bucket
    Copies(services.objects, bucket, job.job_id, job.images).write()
    gateway.uploads.put(source, image.data)
    issued = services.jobs.light.submit(
        job.job_id, job.spec, [source], identity=digest, channel=gateway.endings.channel
    )
    services.publish(issued)


async def process(
    gateway: Gateway, job: LightJob, image: Upload, *, wait_s: float | None = None
) -> ItemRecord:
    """Submit the job of *image* and wait for its record, for *wait_s* or as the settings say.

    Raises:
        Problem: If too many callers wait (429), the job was cancelled (409), or it takes too long
            (504): then the work goes on.
        JobConflict: If the job exists with another image or other parameters.
    """
    with gateway.waiting, gateway.endings.expecting(job.job_id) as ended:
        await run_in_threadpool(start, gateway, job, image)
        longest_s = gateway.settings.wait_s if wait_s is None else wait_s
        record = await finished(gateway, job.job_id, asyncio.wrap_future(ended), longest_s)
    if record is None:
        at = {"Location": job.location}
        detail = f"not finished after {longest_s:g} s; read {job.location} later"
        raise Problem(HTTPStatus.GATEWAY_TIMEOUT, STILL_RUNNING, detail, at)
    return record


async def finished(
    gateway: Gateway, job_id: str, ended: asyncio.Future[None], longest_s: float
) -> ItemRecord | None:
    """Wait for the record of a light job's image; return None if it takes too long.

    Raises:
        UnknownJob: If Redis has lost the job.
    """
    deadline_s = time.monotonic() + longest_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        await asyncio.wait({ended}, timeout=min(ASK_S, left_s))
        result: LightResult = await run_in_threadpool(gateway.services.jobs.light.result, job_id)
        if result.has_ended:
            if not result.records:
                raise Problem(HTTPStatus.CONFLICT, "job-cancelled", f"job {job_id} was cancelled")
            return result.records[0]
    return None


def picture_of(gateway: Gateway, job: LightJob, record: ItemRecord) -> Picture:
    """Return the file of a record; several as a ZIP.

    Raises:
        Problem: If the image failed, or its files have been deleted: they are kept for a day.
    """
    if record.state == "failed":
        error = record.error or {}
        detail = f"{error.get('class', 'error')}: {error.get('reason', '')}"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "image-failed", detail)
    written = list(written_objects(job.spec, job.job_id, record))
    if not written:
        raise not_found("a file of this image")
    stem = record.image_key.rpartition("/")[2].rpartition(".")[0] or "image"
    files = [(_file_name(stem, each, written), _read(gateway, job, each)) for each in written]
    [(name, data), *others] = files
    if not others:
        return Picture(data, media_type_of(name), name)
    return Picture(_zipped(files), MEDIA_TYPES["zip"], f"{stem}.zip")


def media_type_of(name: str) -> str:
    """Return the MIME type of an output by the extension of its name."""
    return {**MEDIA_TYPES}.get(name.rpartition(".")[2], "application/octet-stream")  # type: ignore[call-overload,no-any-return]


def _read(gateway: Gateway, job: LightJob, written: WrittenObject) -> bytes:
    return gateway.services.objects.get(job.spec.output_bucket, written.key).data


def _file_name(stem: str, written: WrittenObject, every: list[WrittenObject]) -> str:
    ext = written.key.rpartition(".")[2]
    if len(every) == 1:
        return f"{stem}.{ext}"
    return f"{written.path.replace('/', '_').removesuffix('.' + ext)}.{ext}"


def _zipped(files: list[tuple[str, bytes]]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return body.getvalue()
