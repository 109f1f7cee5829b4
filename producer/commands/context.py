"""Access to the services and the JOB argument, for all commands."""

from typing import Final

import click

from producer.services import Services
from shared.errors import InvalidOption, UnknownJob
from shared.job.ticket import JOB_ID
from shared.settings import ServiceSettings


def services_of(ctx: click.Context) -> Services:
    """Return the services that the environment from `producer.cli` configures."""
    return Services(ServiceSettings.from_env(ctx.obj))


def read_background(ctx: click.Context, key: str) -> bytes:
    """Return the image at *key*; a local run needs no service unless a recipe names a key.

    Raises:
        InvalidOption: If there is no such image, or no bucket is set.
    """
    from producer.submission.assets import read_object  # noqa: PLC0415 - needed by few commands

    if not ctx.obj.get("RMBG_INPUT_BUCKETS"):
        raise InvalidOption(
            "there is no such file beside the recipe file; for a key set RMBG_INPUT_BUCKETS"
        )
    services = services_of(ctx)
    return read_object(services, services.settings.input_buckets[0], key)


def checked_job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Return the ID of a job; as the callback of an argument or option.

    Raises:
        UnknownJob: If it cannot be one.
    """
    if not JOB_ID.fullmatch(value):
        raise UnknownJob(f"{value!r} is not a valid job ID; `rmbg jobs` lists all jobs")
    return value


job_argument: Final = click.argument("job", callback=checked_job_id)
"""The argument JOB; an invalid ID is refused before it becomes part of a key."""
