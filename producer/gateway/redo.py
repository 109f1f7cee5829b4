"""Process one image of a job again with other options, as a job of its own."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version

from producer.gateway.context import Gateway
from producer.gateway.review_schemas import Redo
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import choose_bucket, submit
from shared.access import ApiKey
from shared.errors import InvalidOption, JobNotDone
from shared.job.features import WEBHOOKS
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES, Existing, JobSpec, Naming, Previews, Priority


def child_id(job_id: str, index: int, after: str | None) -> str:
    """Return the ID of the job that a decision asks for; *after* is the ETag that it follows."""
    named = f"{job_id}/{index}/{after or ''}"
    return f"redo-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def check(gateway: Gateway, spec: JobSpec, job_id: str, wanted: Redo) -> JobSpec:
    """Return the document of the new job without its place among the numbers.

    Raises:
        JobNotDone: If the job of the image has not ended.
        ConfigError: If the model or an option is not possible, or a bucket is not allowed any more.
    """
    if spec.light:
        raise InvalidOption("the image of a single request is not redone; send it again")
    services = gateway.services
    status = services.jobs.queries.status(job_id)
    if status.state not in TERMINAL_STATES:
        raise JobNotDone(
            f"job {job_id} is {status.state.value}; its images can be redone at its end"
        )
    choose_bucket(services, spec.input_bucket)
    chosen = JobOptions(rem_mode=wanted.model or spec.rem_mode).to_spec(
        spec.input_bucket,
        spec.output_bucket,
        now=datetime.now().astimezone(),
        commercial=services.settings.commercial,
    )
    return spec.model_copy(
        update={
            "rem_mode": chosen.rem_mode,
            "weights_sha256": chosen.weights_sha256,
            "options": wanted.options or spec.options,
            "thresholds": wanted.thresholds or spec.thresholds,
            "priority": Priority.INTERACTIVE,
            "existing": Existing.REPLACE,
            "previews": spec.previews if spec.previews is Previews.NONE else Previews.ALL,
            "date": datetime.now(UTC).date().isoformat(),
            "needs": tuple(each for each in spec.needs if each != WEBHOOKS),
            "webhook": None,  # of the end of the whole job
            "version": version("rmbg-queue"),
        }
    )


def start(
    gateway: Gateway, key: ApiKey, planned: JobSpec, item: tuple[str, ItemRecord], child: str
) -> None:
    """Create the job *child* that processes an item again; a repetition joins it.

    It has the prefix, the names and, with ComfyUI's naming, the number of the item. As the later
    job it replaces the outputs, and `rmbg verify` of the first job allows that.

    Raises:
        TooManyOpen: If the tenant has too many open images.
        ServiceUnavailable: If Redis or the object store is unavailable.
    """
    job_id, record = item
    is_numbered = planned.naming is Naming.COMFYUI
    spec = planned.model_copy(
        update={
            "parent": f"{job_id}/{record.index}",
            "counter_base": planned.counter_base + record.index,
            "reuse_masks": planned.reuse_masks or is_numbered,  # keeps the number
        }
    )
    submit(
        gateway.services,
        KeySource([record.image_key]),
        spec,
        job_id=child,
        weight=key.weight,
        most_open=key.max_open_images,
    )
