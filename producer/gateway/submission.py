"""Create a job from the body of a request."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from producer.gateway.accepted import Accepted, SubmissionStatus
from producer.gateway.context import Gateway
from producer.gateway.lists import source_of
from producer.gateway.problems import invalid
from producer.gateway.schemas import JobRequest
from producer.gateway.tenancy import check_spec, is_below, is_upload, save_prefix
from producer.submission.options import JobOptions
from producer.submission.sources import object_key
from producer.submission.submit import plan, submit
from shared.access import ApiKey
from shared.errors import JobConflict
from shared.job.features import WEBHOOKS
from shared.job.keys import results_key
from shared.job.output_keys import BUILT_IN
from shared.job.spec import JobSpec
from shared.jobstore.submissions import Submitted
from shared.recipes import Recipe, presets
from shared.recipes.background import Asset


def create_job(
    gateway: Gateway, key: ApiKey, wanted: JobRequest, idempotency_key: str | None
) -> Submitted:
    """Create or join the job that *wanted* describes.

    Args:
        gateway: The gateway.
        key: The caller's key; image keys and outputs are below its prefix.
        wanted: The body of the request.
        idempotency_key: Names the request: a repetition joins its job.

    Raises:
        ConfigError: If the request is not valid; nothing is created.
        ServiceUnavailable: If Redis or the object store is unavailable.
    """
    spec = planned(gateway, key, wanted)
    return submit(
        gateway.services,
        source_of(gateway.services, key, wanted, spec),
        spec,
        job_id=None if idempotency_key is None else job_id_of(key.tenant, "jobs", idempotency_key),
        weight=key.weight,
        most_open=key.max_open_images,
    )


def accept_job(
    gateway: Gateway, key: ApiKey, wanted: JobRequest, idempotency_key: str | None
) -> SubmissionStatus:
    """Accept the job that *wanted* describes; this or another gateway creates it.

    A repetition with the same `idempotency_key` returns the same submission. It starts again if it
    has failed, or if Redis lost its job before the end.

    Raises:
        ConfigError: If the request is not valid, or the `idempotency_key` is that of another.
        ServiceUnavailable: If the object store is unavailable.
    """
    spec = planned(gateway, key, wanted)
    job_id = None if idempotency_key is None else job_id_of(key.tenant, "jobs", idempotency_key)
    accepted = Accepted(
        submission_id=job_id or f"sub-{secrets.token_hex(12)}",
        job_id=job_id,
        body_sha256=hashlib.sha256(wanted.model_dump_json().encode()).hexdigest(),
        key=key.model_copy(update={"sha256": ""}),
        wanted=wanted,
        spec=spec,
        created_at=datetime.now(UTC),
    )
    known = None if job_id is None else _same_as(gateway, accepted)
    if known is not None and (known.state == "accepted" or _has_job(gateway, known)):
        return known
    gateway.accepting.submissions.add(accepted)
    gateway.accepting.wake()
    return accepted.status


def _same_as(gateway: Gateway, accepted: Accepted) -> SubmissionStatus | None:
    """Return the status of the submission that *accepted* repeats, or None.

    Raises:
        JobConflict: If its ID was used for another body.
    """
    known = gateway.accepting.submissions.find(accepted.submission_id)
    is_other = known is not None and known.body_sha256 != accepted.body_sha256
    if is_other or (known is None and _is_job(gateway, accepted.submission_id)):
        raise JobConflict(f"job {accepted.submission_id} was submitted with another body")
    return None if known is None else known.status


def _has_job(gateway: Gateway, known: SubmissionStatus) -> bool:
    """Return whether the job of a submission is in Redis, or has left its results."""
    if known.job_id is None:
        return False
    services = gateway.services
    results = results_key(known.job_id)
    return (
        _is_job(gateway, known.job_id)
        or services.objects.head(services.settings.output_bucket, results) is not None
    )


def _is_job(gateway: Gateway, job_id: str) -> bool:
    return gateway.services.jobs.queries.is_known(job_id)


def planned(gateway: Gateway, key: ApiKey, wanted: JobRequest) -> JobSpec:
    """Return the document of the job that *wanted* describes.

    Raises:
        ConfigError: If the request is not valid.
    """
    options = JobOptions.of(
        rem_mode=wanted.model or gateway.settings.model,
        save_prefix=save_prefix(key, wanted.save_prefix),
        image_output=wanted.image_output,
        naming=wanted.naming,
        existing=wanted.existing,
        priority=wanted.priority,
        previews=wanted.previews,
        pictures=wanted.options,
        thresholds=wanted.thresholds,
        outputs=named_outputs(key, wanted.outputs),
        keep_mask=wanted.keep_mask,
        reuse_masks=wanted.reuse_masks,
    )
    spec = plan(gateway.services, options, key.bucket)
    if wanted.keys is not None and is_upload(key, wanted.keys[0]):
        spec = spec.model_copy(update={"input_bucket": gateway.upload_bucket})
    check_spec(key, spec)
    spec = spec.model_copy(update={"tenant": key.tenant})
    if wanted.webhook is None:
        return spec
    gateway.webhooks.check(key.tenant, wanted.webhook.url)
    return spec.model_copy(update={"webhook": wanted.webhook, "needs": (*spec.needs, WEBHOOKS)})


def job_id_of(tenant: str, route: str, idempotency_key: str) -> str:
    """Return the ID of the job that a request with this `Idempotency-Key` creates.

    The job store lets only one job have it, whichever gateway gets a repetition.
    """
    named = json.dumps([tenant, route, idempotency_key]).encode()
    return f"idem-{hashlib.sha256(named).hexdigest()[:40]}"


def named_outputs(key: ApiKey, outputs: Sequence[str | Recipe]) -> list[str | Recipe]:
    """Return the outputs of a request, in which a text is a name and never a path.

    An image as a background is one below the prefix of *key*.

    Raises:
        Problem: If a name is not known.
    """
    known = (*BUILT_IN, *presets.names())
    for each in outputs:
        if isinstance(each, str) and each not in known:
            raise invalid(f"output {each!r} is not known; outputs: {', '.join(known)}")
        if isinstance(each, Recipe) and isinstance(each.background, Asset):
            image = object_key(each.background.key, key.bucket)
            if not is_below(key, image) and not is_upload(key, image):
                raise invalid(f"background {image!r} is not below {key.prefix}/")
    return list(outputs)
