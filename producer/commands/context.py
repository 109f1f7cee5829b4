"""Access to the services and the JOB argument, for all commands."""

from typing import Final

import click

from producer.services import Services
from shared.errors import UnknownJob
from shared.job.ticket import JOB_ID
from shared.settings import ServiceSettings


def services_of(ctx: click.Context) -> Services:
    """Return the services that the environment from `producer.cli` configures."""
    return Services(ServiceSettings.from_env(ctx.obj))


def _job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not JOB_ID.fullmatch(value):
        raise UnknownJob(f"{value!r} is not a valid job ID; `rmbg jobs` lists all jobs")
    return value


job_argument: Final = click.argument("job", callback=_job_id)
"""The argument JOB; an invalid ID is refused before it becomes part of a key."""
