"""`rmbg results | failures`: the records of a job's images."""

import functools

import click

from producer.commands.context import job_argument, services_of
from producer.commands.output import echo_json, echo_row
from producer.patience import Patience
from producer.results import reader
from producer.results.links import linker


@click.command
@job_argument
@click.option("--follow", is_flag=True, help="Wait for further records until the job ends.")
@click.option("--links", is_flag=True, help="Add signed links to the outputs, valid for one hour.")
@click.pass_context
def results(ctx: click.Context, job: str, *, follow: bool, links: bool) -> None:
    """Print a job's records as JSON lines, one per image.

    Records come in the order of the job's images. For a running job, the records known so far
    are printed. Records stay readable after Redis has deleted the job, 7 days after its end.
    """
    services = services_of(ctx)
    patience = Patience(functools.partial(click.echo, err=True))
    found = (
        reader.follow(services, job, patience=patience) if follow else reader.records(services, job)
    )
    link = linker(services, job) if links else None
    for record in found:
        if link is None:
            click.echo(record.to_json())
        else:
            echo_json(link(record))


@click.command
@job_argument
@click.option("--json", "as_json", is_flag=True, help="Print complete records as JSON lines.")
@click.pass_context
def failures(ctx: click.Context, job: str, *, as_json: bool) -> None:
    """List a job's failed images and the reasons.

    Each line has the image's index, key, error class and reason, separated by tabs.
    """
    for record in reader.failures(services_of(ctx), job):
        if as_json:
            click.echo(record.to_json())
        else:
            error = record.error or {}
            reason = (error.get("class", "?"), error.get("reason", ""))
            echo_row((record.index, record.image_key, *reason))
