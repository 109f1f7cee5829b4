"""`rmbg status | watch | jobs`: where jobs stand."""

from __future__ import annotations

import functools
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer import progress as watching
from producer.commands.common import echo_json, job_argument, services_of

if TYPE_CHECKING:
    from producer.services import Services


@click.command
@job_argument
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object.")
@click.pass_context
def status(ctx: click.Context, job: str, *, as_json: bool) -> None:
    """Print where a job stands."""
    found = services_of(ctx).jobs.queries.status(job)
    if as_json:
        echo_json(asdict(found))
        return
    click.echo(watching.describe(found))
    for name, count in sorted(found.error_classes.items()):
        click.echo(f"  {count} x {name}")


@click.command
@job_argument
@click.pass_context
def watch(ctx: click.Context, job: str) -> int:
    """Show a job's progress until it has ended; exit with 1 if images failed."""
    return watch_job(services_of(ctx), job)


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def jobs(ctx: click.Context, *, as_json: bool) -> None:
    """Print all jobs that Redis knows, newest first."""
    for found in services_of(ctx).jobs.queries.jobs():
        if as_json:
            echo_json(asdict(found))
        else:
            click.echo(f"{found.created_at:%Y-%m-%d %H:%M}Z  {watching.describe(found)}")


def watch_job(services: Services, job_id: str) -> int:
    """Show progress on standard error and return the exit code of what came of it."""
    poll = functools.partial(services.jobs.queries.status, job_id)
    poll()  # an unknown job is told before anything is drawn
    return watching.exit_code(watching.watch(poll, watching.screen_for(sys.stderr)))
