"""`rmbg results | failures`: how the images of a job ended."""

from __future__ import annotations

import time
from typing import Final

import click

from producer.commands.common import echo_json, job_argument, one_cell, services_of
from producer.results import reader as reading

_PAUSE_S: Final = 1.0


@click.command
@job_argument
@click.option("--follow", is_flag=True, help="Wait for more until the job has ended.")
@click.option("--links", is_flag=True, help="Add signed links, good for an hour.")
@click.pass_context
def results(ctx: click.Context, job: str, *, follow: bool, links: bool) -> None:
    """Print a job's records in item order, one JSON object a line.

    Of a running job, those known so far. They stay readable in the bucket when Redis has
    forgotten the job.
    """
    services = services_of(ctx)
    found = (
        reading.follow(services, job, pause=lambda: time.sleep(_PAUSE_S))
        if follow
        else reading.records(services, job)
    )
    link = reading.linker(services, job) if links else None
    for record in found:
        if link is None:
            click.echo(record.to_json())
        else:
            echo_json(link(record))


@click.command
@job_argument
@click.option("--json", "as_json", is_flag=True, help="Print whole records as JSON lines.")
@click.pass_context
def failures(ctx: click.Context, job: str, *, as_json: bool) -> None:
    """Print a job's failed images: index, key, class and reason, separated by tabs."""
    for record in reading.failures(services_of(ctx), job):
        if as_json:
            click.echo(record.to_json())
        else:
            error = record.error or {}
            cells = (record.image_key, error.get("class", "?"), error.get("reason", ""))
            click.echo("\t".join((str(record.index), *map(one_cell, cells))))
