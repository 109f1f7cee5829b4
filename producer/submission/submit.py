"""From keys and options to a job with its first tickets in the queues."""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from producer.submission.manifest import stage
from producer.submission.sources import at_least_one
from shared.errors import InvalidOption, JobConflict, RmbgError, ServiceUnavailable
from shared.job.keys import comfyui_stem, highest_number, manifest_key
from shared.job.spec import MAX_INTERACTIVE_ITEMS, JobSpec, Naming, Priority
from shared.job.ticket import JOB_ID
from shared.jobstore.values import Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.services import Services
    from producer.submission.options import JobOptions
    from producer.submission.sources import Source
    from shared.jobstore.values import Submitted

DURABLE_S: Final = 5.0
"""Longest wait for Redis's append-only file; the job stands without it too."""


def choose_bucket(services: Services, bucket: str | None) -> str:
    """Return the input bucket: the one asked for, or the only one there is.

    Raises:
        InvalidOption: If it is not in the allow-list, or none was named and there are several.
    """
    allowed = services.settings.input_buckets
    if bucket is None and len(allowed) == 1:
        return allowed[0]
    if bucket is None:
        raise InvalidOption(f"--bucket is needed: one of {', '.join(allowed)}")
    if bucket not in allowed:
        raise InvalidOption(
            f"bucket {bucket!r} is not in RMBG_INPUT_BUCKETS, which allows {', '.join(allowed)}"
        )
    return bucket


def plan(services: Services, options: JobOptions, bucket: str | None = None) -> JobSpec:
    """Check everything that can be checked without a service; return the job's document.

    Dates in the prefix are expanded here, once, in this machine's local time.

    Raises:
        ConfigError: Of the kind that says what is wrong; nothing has been created.
    """
    if options.job_id is not None and not JOB_ID.fullmatch(options.job_id):
        raise InvalidOption(
            f"--job-id {options.job_id!r} is not 1 to 64 of A-Z a-z 0-9 . _ - "
            "with a letter or digit first"
        )
    settings = services.settings
    return options.to_spec(
        choose_bucket(services, bucket),
        settings.output_bucket,
        now=datetime.now().astimezone(),
        commercial=settings.commercial,
    )


def submit(
    services: Services, source: Source, spec: JobSpec, *, job_id: str | None = None
) -> Submitted:
    """Make the job of *spec* over the keys of *source*, and publish its first tickets.

    A repetition joins the job it made before. The keys are walked once and never held together.
    After a failure nothing runs, unless Redis's answer to the very last question got lost; what
    was staged there for no job expires within an hour.

    Raises:
        NoKeys: If *source* has no key; nothing was created.
        JobConflict: If *job_id* means other keys or parameters.
        ServiceUnavailable: If Redis or the object store cannot be asked, or a bucket is missing.
    """
    _ = services.jobs  # Redis first: it answers at once, or tells that it is away
    for bucket in dict.fromkeys((spec.input_bucket, spec.output_bucket)):
        services.objects.check(bucket)
    keys = at_least_one(source)
    if spec.priority is Priority.INTERACTIVE:
        keys = _at_most(keys, MAX_INTERACTIVE_ITEMS)
    nonce = secrets.token_hex(8)
    try:
        submission = _prepare(services, keys, nonce, spec, job_id)
    except RmbgError:
        _drop(services, nonce, spec)
        raise
    submitted = _make(services, submission)
    services.feed()
    services.jobs.durable(DURABLE_S)
    return submitted


def _prepare(
    services: Services, keys: Iterator[str], nonce: str, spec: JobSpec, job_id: str | None
) -> Submission:
    staged = stage(
        keys, nonce, store=services.jobs, objects=services.objects, bucket=spec.output_bucket
    )
    if spec.naming is Naming.COMFYUI:
        base = _reserve(services, spec, staged.total)
        spec = spec.model_copy(update={"counter_base": base})
    return Submission(
        spec=spec,
        total=staged.total,
        keys_sha256=staged.keys_sha256,
        job_id=job_id,
        manifest=nonce,
    )


def _make(services: Services, submission: Submission) -> Submitted:
    """Make or join the job; drop the chunks only if it is certain that no job reads them.

    If Redis cannot be asked, the job may be there: only the answer need have been lost.
    """
    try:
        submitted = services.jobs.submit(submission)
    except JobConflict:
        _drop(services, submission.manifest, submission.spec)
        raise
    if not submitted.created:
        _drop(services, submission.manifest, submission.spec)
    return submitted


def _reserve(services: Services, spec: JobSpec, count: int) -> int:
    """Reserve *count* numbers; those of a submission that joins or fails stay unused."""
    stem = comfyui_stem(spec.save_prefix)
    listed = services.objects.list(spec.output_bucket, stem)
    return services.jobs.reserve_numbers(
        spec.output_bucket,
        stem,
        listed_highest=highest_number((found.key for found in listed), spec.save_prefix),
        count=count,
    )


def _at_most(keys: Iterator[str], limit: int) -> Iterator[str]:
    for n, key in enumerate(keys):
        if n == limit:
            raise InvalidOption(
                f"an interactive job has at most {limit} images; leave out --priority interactive"
            )
        yield key


def _drop(services: Services, nonce: str, spec: JobSpec) -> None:
    """Delete chunks that no job will read; those staged in Redis expire by themselves."""
    with suppress(ServiceUnavailable):
        folder = manifest_key(nonce, 0).rpartition("/")[0]
        left = [found.key for found in services.objects.list(spec.output_bucket, folder + "/")]
        services.objects.delete(spec.output_bucket, left)
