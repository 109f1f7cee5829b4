"""Create a job from keys and options, and publish its first tickets."""

import functools
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from types import MappingProxyType
from typing import Final

from producer.services import Services
from producer.submission.assets import pinned, read_object
from producer.submission.collisions import collisions
from producer.submission.copies import Copies
from producer.submission.manifest import stage
from producer.submission.options import JobOptions
from producer.submission.sources import PrefixSource, Source, parse_prefix
from shared.errors import (
    InvalidOption,
    JobConflict,
    NoKeys,
    RmbgError,
    ServiceUnavailable,
    TooManyOpen,
)
from shared.job.differences import differences
from shared.job.keys import manifest_key
from shared.job.output_keys import (
    MASK,
    comfyui_stem,
    comfyui_stems,
    highest_number,
    is_own_output,
)
from shared.job.outputs import assets_of
from shared.job.spec import MAX_INTERACTIVE_ITEMS, JobSpec, Naming, Priority
from shared.job.ticket import JOB_ID
from shared.jobstore.submissions import Submission, Submitted

NO_FILES: Final[Mapping[str, bytes]] = MappingProxyType({})


def choose_bucket(services: Services, bucket: str | None) -> str:
    """Return *bucket*, or the only allowed input bucket if *bucket* is None.

    Raises:
        InvalidOption: If *bucket* is not allowed, or is None and several buckets are allowed.
    """
    allowed = services.settings.input_buckets
    if bucket is None and len(allowed) == 1:
        return allowed[0]
    if bucket is None:
        raise InvalidOption(f"--bucket is required; allowed: {', '.join(allowed)}")
    if bucket not in allowed:
        raise InvalidOption(
            f"bucket {bucket!r} is not in RMBG_INPUT_BUCKETS; allowed: {', '.join(allowed)}"
        )
    return bucket


def plan(services: Services, options: JobOptions, bucket: str | None = None) -> JobSpec:
    """Return the document of a job, after every check that needs no service.

    Dates in the prefix are expanded once, here, in this machine's local time.

    Raises:
        ConfigError: If an option is invalid; nothing is created.
    """
    if options.job_id is not None and not JOB_ID.fullmatch(options.job_id):
        raise InvalidOption(
            f"invalid --job-id {options.job_id!r}; use 1 to 64 of A-Z a-z 0-9 . _ - "
            "and begin with a letter or digit"
        )
    settings = services.settings
    return options.to_spec(
        choose_bucket(services, bucket),
        settings.output_bucket,
        now=datetime.now().astimezone(),
        commercial=settings.commercial,
    )


def list_prefix(services: Services, url: str, spec: JobSpec, save_prefix: str) -> PrefixSource:
    """Return the images at *url*, without the outputs of this job and of earlier ones like it.

    Args:
        services: The services that hold the bucket.
        url: `s3://bucket/prefix/`.
        spec: The document of the job.
        save_prefix: The job's prefix before its dates are expanded, so that outputs of other days
            are recognised too.

    Raises:
        InvalidOption: If *url* does not have this form.
    """
    own = functools.partial(is_own_output, spec.model_copy(update={"save_prefix": save_prefix}))
    return PrefixSource(services.objects, *parse_prefix(url), own)


def submit(
    services: Services,
    source: Source,
    spec: JobSpec,
    *,
    job_id: str | None = None,
    files: Mapping[str, bytes] = NO_FILES,
    weight: int = 1,
    most_open: int = 0,
) -> Submitted:
    """Create a job from *spec* and the keys of *source*, and publish its first tickets.

    The same submission again joins the job. The keys are read once, and never all held in memory.
    After an error no job runs, unless only Redis's answer to the last command was lost. Staged
    keys without a job expire within an hour; `rmbg-worker` deletes images without a job.

    Args:
        services: The services.
        source: The image keys.
        spec: The document of the job.
        job_id: ID of the job; None derives it from keys and parameters.
        files: Images beside recipe files that outputs name as backgrounds, by SHA-256.
        weight: Weight of the tenant beside others.
        most_open: Most images of the tenant that have not ended; 0: any number.

    Raises:
        InvalidOption: If outputs under ComfyUI's naming would meet those of a running job.
        InvalidRecipe: If an image that an output names as its background cannot be read.
        NoKeys: If *source* has no key; nothing is created.
        JobConflict: If *job_id* is in use for other keys or parameters.
        TooManyOpen: If the tenant would have more than *most_open* open images.
        ServiceUnavailable: If Redis or the object store is unavailable, or a bucket is missing.
        ServiceUnfit: If Redis may delete open jobs.
    """
    services.jobs.submissions.check_memory()  # first: it fails within seconds without Redis
    for bucket in dict.fromkeys((spec.input_bucket, spec.output_bucket)):
        services.objects.check(bucket)
    read = functools.partial(read_object, services, spec.input_bucket)
    outputs, images = pinned(spec.outputs, files, read)
    spec = spec.model_copy(update={"outputs": outputs}) if images else spec
    met = collisions(services, spec)
    nonce = secrets.token_hex(8)
    try:
        prepared = _prepare(services, source, nonce, spec)
        submission = replace(prepared, job_id=job_id, weight=weight, most_open=most_open)
        copies = Copies.of(services.objects, submission, images)
        copies.write()
    except RmbgError:
        _delete_chunks(services, nonce, spec)
        raise
    submitted = _create_or_join(services, submission, copies)
    services.feed()
    services.persist()
    warnings = tuple(str(each) for each in met if each.job_id != submitted.job_id)
    return replace(submitted, warnings=warnings)


def _prepare(services: Services, source: Source, nonce: str, spec: JobSpec) -> Submission:
    is_interactive = spec.priority is Priority.INTERACTIVE
    keys = _at_most(source, MAX_INTERACTIVE_ITEMS) if is_interactive else source
    staged = stage(
        keys, nonce, store=services.jobs, objects=services.objects, bucket=spec.output_bucket
    )
    if not staged.total:
        raise NoKeys(source.describe_empty())
    if spec.naming is Naming.COMFYUI and not spec.reuse_masks:  # a rerender has its job's numbers
        base = _reserve(services, spec, staged.total)
        spec = spec.model_copy(update={"counter_base": base})
    if spec.naming is Naming.SOURCE and spec.reuse_masks:
        spec = spec.model_copy(update={"reuse_masks": _has_masks(services, spec)})
    spec = spec.model_copy(update={"preview_every": spec.preview_stride(staged.total)})
    return Submission(
        spec=spec,
        total=staged.total,
        keys_sha256=staged.keys_sha256,
        job_id=None,
        manifest=nonce,
        proposed=_proposed(spec, staged.keys_sha256, nonce) if assets_of(spec.outputs) else "",
    )


def _proposed(spec: JobSpec, keys_sha256: str, nonce: str) -> str:
    """Return the ID of a job that must be known before the job exists."""
    return f"{spec.fingerprint(keys_sha256)[:12]}-{nonce}"


def _create_or_join(services: Services, submission: Submission, copies: Copies) -> Submitted:
    """Create or join the job; delete what was written for it only if no job can be reading it.

    If Redis is unavailable, the job may exist: perhaps only the answer was lost.
    """
    try:
        submitted = services.jobs.submissions.submit(submission)
    except TooManyOpen:
        _delete_chunks(services, submission.manifest, submission.spec)
        copies.delete()
        raise
    except JobConflict as err:
        _delete_chunks(services, submission.manifest, submission.spec)
        known = services.jobs.queries.spec(submission.job_id or "")
        copies.delete(but=assets_of(known.outputs))
        raise JobConflict(f"{err} ({_what_differs(known, submission.spec)})") from err
    if not submitted.created:
        _delete_chunks(services, submission.manifest, submission.spec)
        if submitted.job_id != copies.job_id:
            copies.delete()
    return submitted


def _what_differs(known: JobSpec, spec: JobSpec) -> str:
    """Return what differs from the job whose ID the submission was given."""
    changed = differences(known, spec)
    return f"different: {', '.join(changed)}" if changed else "the image keys differ"


def _reserve(services: Services, spec: JobSpec, count: int) -> int:
    """Reserve *count* file numbers; a submission that joins or fails leaves gaps."""
    stem = comfyui_stem(spec.save_prefix)
    listed = chain.from_iterable(
        services.objects.list(spec.output_bucket, each) for each in comfyui_stems(spec.save_prefix)
    )
    return services.jobs.submissions.reserve_numbers(
        spec.output_bucket,
        stem,
        listed_highest=highest_number((found.key for found in listed), spec.save_prefix),
        count=count,
    )


def _has_masks(services: Services, spec: JobSpec) -> bool:
    """Return whether a mask is below the job's prefix.

    Otherwise the workers would ask for the mask of each image of a first job.
    """
    folder = f"{spec.save_prefix}/{MASK}/"
    return any(True for _ in services.objects.list(spec.output_bucket, folder))


def _at_most(keys: Iterable[str], limit: int) -> Iterator[str]:
    for n, key in enumerate(keys):
        if n == limit:
            raise InvalidOption(
                f"an interactive job has at most {limit} images; use --priority bulk"
            )
        yield key


def _delete_chunks(services: Services, nonce: str, spec: JobSpec) -> None:
    """Delete staged chunks from the bucket; those in Redis expire."""
    with suppress(ServiceUnavailable):
        folder = manifest_key(nonce, 0).rpartition("/")[0]
        left = [found.key for found in services.objects.list(spec.output_bucket, folder + "/")]
        services.objects.delete(spec.output_bucket, left)
