"""Create a job from the body of a request."""

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final

from producer.gateway.context import Gateway
from producer.gateway.problems import invalid
from producer.gateway.schemas import JobRequest
from producer.gateway.tenancy import check_spec, is_below, is_upload, own_keys, save_prefix
from producer.services import Services
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource, Source, object_key
from producer.submission.submit import list_prefix, plan, submit
from shared.access import ApiKey
from shared.errors import InvalidOption, ObjectMissing
from shared.job.output_keys import BUILT_IN
from shared.job.spec import JobSpec
from shared.jobstore.submissions import Submitted
from shared.recipes import Recipe, presets
from shared.recipes.background import Asset

MAX_LIST_BYTES: Final = 512 * 2**20
"""Largest object that lists image keys."""
_SPOOL_BYTES: Final = 8 * 2**20


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
    services = gateway.services
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
    spec = plan(services, options, key.bucket)
    if wanted.keys is not None and is_upload(key, wanted.keys[0]):
        spec = spec.model_copy(update={"input_bucket": gateway.upload_bucket})
    check_spec(key, spec)
    spec = spec.model_copy(update={"tenant": key.tenant})
    return submit(
        services,
        _source(services, key, wanted, spec, options.save_prefix),
        spec,
        job_id=None if idempotency_key is None else job_id_of(key.tenant, "jobs", idempotency_key),
        weight=key.weight,
        most_open=key.max_open_images,
    )


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


def _source(
    services: Services, key: ApiKey, wanted: JobRequest, spec: JobSpec, prefix: str
) -> Source:
    if wanted.keys is not None:
        return KeySource(own_keys(key, wanted.keys))
    if wanted.prefix is not None:
        if not is_below(key, wanted.prefix):
            raise InvalidOption(f"prefix {wanted.prefix!r} is not below {key.prefix}/")
        return list_prefix(services, f"s3://{key.bucket}/{wanted.prefix}", spec, prefix)
    listed = _listed(services, key, wanted.keys_from or "")
    return KeySource(own_keys(key, listed))


def _listed(services: Services, key: ApiKey, object_key: str) -> Iterator[str]:
    """Yield the image keys that an object in the bucket lists."""
    if not is_below(key, object_key):
        raise InvalidOption(f"keys_from {object_key!r} is not below {key.prefix}/")
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        try:
            services.objects.download(key.bucket, object_key, spool)
        except ObjectMissing as err:
            raise InvalidOption(f"keys_from {object_key!r} does not exist") from err
        spool.seek(0)
        yield from keys_in(spool)


def keys_in(file: IO[bytes]) -> Iterator[str]:
    """Yield the image keys in CSV with a column `key`, or in JSON lines with a field `key`.

    Raises:
        InvalidOption: If the text is not UTF-8, or a row has no key; names the line.
    """
    lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        first = lines.readline()
        rest = iter(lines)
        yield from _json_keys(first, rest) if first.startswith("{") else _csv_keys(first, rest)
    except UnicodeDecodeError as err:
        raise InvalidOption("keys_from is not UTF-8 text") from err
    finally:
        lines.detach()


def _json_keys(first: str, rest: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate((first, *()), 1):
        yield _json_key(number, line)
    for number, line in enumerate(rest, 2):
        if line.strip():
            yield _json_key(number, line)


def _json_key(number: int, line: str) -> str:
    try:
        key = json.loads(line)["key"]
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidOption(f"keys_from, line {number}: not an object with a field key") from err
    if not isinstance(key, str):
        raise InvalidOption(f"keys_from, line {number}: key is not a text")
    return key


def _csv_keys(first: str, rest: Iterable[str]) -> Iterator[str]:
    columns = next(csv.reader([first]), [])
    if "key" not in columns:
        raise InvalidOption("keys_from has no column key; its first line must name the columns")
    place = columns.index("key")
    for number, row in enumerate(csv.reader(rest), 2):
        if not row:
            continue
        if len(row) <= place or not row[place]:
            raise InvalidOption(f"keys_from, row {number}: the column key is empty")
        yield row[place]
