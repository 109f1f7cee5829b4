"""`rmbg cancel | retry`: change what a job does."""

from __future__ import annotations

import click

from producer import progress as watching
from producer.commands.common import job_argument, services_of
from producer.submission.submit import DURABLE_S


@click.command
@job_argument
@click.pass_context
def cancel(ctx: click.Context, job: str) -> None:
    """Stop a job: nothing new starts; what was in flight still counts and is recorded."""
    services = services_of(ctx)
    services.jobs.submissions.cancel(job)
    services.feed()
    click.echo(watching.describe(services.jobs.queries.status(job)))


@click.command
@job_argument
@click.pass_context
def retry(ctx: click.Context, job: str) -> None:
    """Redo the failed images of a done job, and only those."""
    services = services_of(ctx)
    count = services.jobs.submissions.retry(job)
    services.feed()
    services.jobs.submissions.durable(DURABLE_S)
    click.echo(f"{count} images of {job} are tried again")
