"""Which image keys, save prefixes and jobs belong to a tenant."""

from collections.abc import Iterable, Iterator

from producer.gateway.problems import not_found
from producer.services import Services
from shared.access import ApiKey
from shared.errors import InvalidOption, InvalidPrefix, UnknownJob
from shared.job.keys import check_prefix
from shared.job.spec import JobSpec
from shared.job.upload_keys import folder_of


def is_below(key: ApiKey, object_key: str) -> bool:
    """Return whether *object_key* is below the prefix of *key*.

    >>> from datetime import UTC, datetime
    >>> shop = dict(name="a", tenant="a", sha256="", bucket="inbox", created_at=datetime.now(UTC))
    >>> is_below(ApiKey(prefix="shop", **shop), "shop/a.jpg")
    True
    >>> is_below(ApiKey(prefix="shop", **shop), "shopping/a.jpg")
    False
    """
    return not key.prefix or object_key.startswith(f"{key.prefix}/")


def is_upload(key: ApiKey, object_key: str) -> bool:
    """Return whether *object_key* is an upload of the tenant; uploads may have their own bucket."""
    return object_key.startswith(folder_of(key.tenant))


def own_keys(key: ApiKey, image_keys: Iterable[str]) -> Iterator[str]:
    """Yield *image_keys*: uploads of the tenant, or images below the prefix of *key*.

    Raises:
        InvalidOption: At the first that is neither, or unlike the others.
    """
    are_uploads: bool | None = None
    for image_key in image_keys:
        is_one = is_upload(key, image_key)
        if are_uploads not in (None, is_one):
            raise InvalidOption("uploads and other images of the bucket need jobs of their own")
        are_uploads = is_one
        if not is_one and not is_below(key, image_key):
            raise InvalidOption(f"image key {image_key!r} is not below {key.prefix}/")
        yield image_key


def save_prefix(key: ApiKey, given: str) -> str:
    """Return the prefix of outputs that a tenant calls *given*: below that of its key.

    Raises:
        InvalidPrefix: If *given* is no valid prefix.
    """
    check_prefix(given)
    return f"{key.prefix}/{given}" if key.prefix else given


def check_spec(key: ApiKey, spec: JobSpec) -> None:
    """Check that a job document of *key*, with its placeholders expanded, stays below its prefix.

    Raises:
        InvalidPrefix: If a prefix of the document does not.
    """
    for prefix in (spec.save_prefix, spec.review_prefix):
        if prefix is not None and not is_below(key, prefix):
            raise InvalidPrefix(f"save prefix {prefix!r} is not below {key.prefix}/")


def own_spec(services: Services, key: ApiKey, job_id: str) -> JobSpec:
    """Return the document of a job of *key*'s tenant.

    Raises:
        Problem: If there is no such job, or it is another tenant's: the answer is the same.
    """
    try:
        spec = services.jobs.queries.spec(job_id)
    except UnknownJob as err:
        raise not_found(f"job {job_id}") from err
    if spec.tenant != key.tenant:
        raise not_found(f"job {job_id}")
    return spec
