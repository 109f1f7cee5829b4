"""`rmbg status | watch | jobs`: the state of one job or of all."""

import sys
from dataclasses import asdict

import click

from producer.commands.context import job_argument, services_of
from producer.commands.output import echo_json
from producer.progress import describe, watch_job


@click.command
@job_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, job: str, *, as_json: bool) -> None:
    """Show a job's status."""
    found = services_of(ctx).jobs.queries.status(job)
    if as_json:
        echo_json(asdict(found))
        return
    click.echo(describe(found))
    for name, images in sorted(found.error_classes.items()):
        click.echo(f"  {images} x {name}")


@click.command
@job_argument
@click.pass_context
def watch(ctx: click.Context, job: str) -> int:
    """Show live progress until a job ends.

    Exits with 1 if any image failed or the job was cancelled, and with 3 if the job has waited
    for a worker or a bucket for 60 s.
    """
    return watch_job(services_of(ctx), job, sys.stderr)


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print jobs as JSON lines.")
@click.pass_context
def jobs(ctx: click.Context, *, as_json: bool) -> None:
    """List all jobs in Redis, newest first."""
    for found in services_of(ctx).jobs.queries.jobs():
        if as_json:
            echo_json(asdict(found))
        else:
            click.echo(f"{found.created_at:%Y-%m-%d %H:%M}Z  {describe(found)}")
