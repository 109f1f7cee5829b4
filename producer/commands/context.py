"""Access to settings, services and the JOB argument, for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from shared.errors import UnknownJob
from shared.job.ticket import JOB_ID
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from producer.services import Services


def settings_of(ctx: click.Context) -> ServiceSettings:
    """Return the settings from the environment that `producer.cli` passed to the command."""
    env: Mapping[str, str] = ctx.obj
    return ServiceSettings.from_env(env)


def services_of(ctx: click.Context) -> Services:
    """Return the services that the environment configures."""
    from producer.services import Services  # noqa: PLC0415 - `rmbg run --help` needs no redis

    return Services(settings_of(ctx))


def _job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not JOB_ID.fullmatch(value):
        raise UnknownJob(f"{value!r} is not a valid job ID; `rmbg jobs` lists all jobs")
    return value


job_argument: Final = click.argument("job", callback=_job_id)
"""The argument JOB; an invalid ID is refused before it becomes part of a key."""
