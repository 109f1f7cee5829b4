"""`rmbg cancel | retry`: stop a job, or process its failed images again."""

import click

from producer.commands.context import job_argument, services_of
from producer.progress import count, describe


@click.command
@job_argument
@click.pass_context
def cancel(ctx: click.Context, job: str) -> None:
    """Cancel a job.

    No further image is started; images in progress are finished and recorded.
    """
    services = services_of(ctx)
    services.cancel(job)
    click.echo(describe(services.jobs.queries.status(job)))


@click.command
@job_argument
@click.pass_context
def retry(ctx: click.Context, job: str) -> None:
    """Retry the failed images of a finished job."""
    services = services_of(ctx)
    images = services.retry(job)
    click.echo(f"retrying {count(images, 'image')} of {job}")
