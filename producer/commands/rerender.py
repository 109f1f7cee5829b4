"""`rmbg rerender`: make new outputs for a finished job."""

import sys

import click

from producer.commands.context import job_argument, services_of
from producer.progress import watch_job
from producer.results.rerender import rerender as rerender_job


@click.command
@job_argument
@click.option(
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Output to make for each image: a preset (`rmbg presets`) or a recipe file. Repeat it "
    "for several.",
)
@click.option("--wait", is_flag=True, help="Show progress until the job ends, like `rmbg watch`.")
@click.pass_context
def rerender(ctx: click.Context, job: str, outputs: tuple[str, ...], *, wait: bool) -> int:
    """Make new outputs for the images of a finished job, and print the ID of the new job.

    They are made from the masks that JOB has written, without the network, and written beside the
    outputs of JOB. Images that failed in JOB, or whose mask is missing, are processed as a whole.
    """
    services = services_of(ctx)
    submitted = rerender_job(services, job, outputs)
    for warning in submitted.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not submitted.created:
        click.echo("joined the job of an earlier identical submission", err=True)
    click.echo(submitted.job_id)
    return watch_job(services, submitted.job_id, sys.stderr) if wait else 0
