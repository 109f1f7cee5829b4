"""`rmbg submit`: keys from a prefix, a file or standard input become one job."""

from __future__ import annotations

import functools
import sys
from typing import IO, TYPE_CHECKING

import click

from producer.commands.common import job_options, read_options, services_of
from producer.commands.look import watch_job
from producer.submission.sources import LineSource, PrefixSource, parse_prefix
from producer.submission.submit import plan
from producer.submission.submit import submit as submit_job
from shared.job.keys import is_own_output

if TYPE_CHECKING:
    from producer.services import Services
    from producer.submission.options import JobOptions
    from producer.submission.sources import Source
    from shared.job.spec import JobSpec


@click.command
@click.option("--prefix", metavar="s3://BUCKET/PREFIX/", help="All pictures under it.")
@click.option("--keys", type=click.File("rb"), help="File with one key a line; - reads stdin.")
@click.option("--bucket", help="Input bucket of --keys and standard input.")
@click.option("--wait", is_flag=True, help="Watch until the job has ended; 1 if images failed.")
@job_options
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    prefix: str | None,
    keys: IO[bytes] | None,
    bucket: str | None,
    *,
    wait: bool,
    **given: object,
) -> int:
    """Make one job of image keys and print its id.

    Keys come from --prefix, --keys or standard input. The same submission again joins the job
    while it runs.
    """
    if prefix is not None and (keys is not None or bucket is not None):
        raise click.UsageError("--prefix names bucket and keys; leave out --keys and --bucket")
    options, services = read_options(given), services_of(ctx)
    if prefix is not None:
        bucket = parse_prefix(prefix)[0]
    spec = plan(services, options, bucket)
    source = _source(services, spec, options, prefix, keys)
    submitted = submit_job(services, source, spec, job_id=options.job_id)
    if not submitted.created:
        click.echo("this job had been submitted before; joined it", err=True)
    click.echo(submitted.job_id)
    return watch_job(services, submitted.job_id) if wait else 0


def _source(
    services: Services,
    spec: JobSpec,
    options: JobOptions,
    prefix: str | None,
    keys: IO[bytes] | None,
) -> Source:
    if prefix is not None:
        # The prefix as it was typed, so that its dates match the outputs of other days as well.
        typed = spec.model_copy(update={"save_prefix": options.save_prefix})
        own = functools.partial(is_own_output, typed)
        return PrefixSource(services.objects, *parse_prefix(prefix), own)
    if keys is not None:
        return LineSource(keys, f"--keys {keys.name}")
    if sys.stdin.isatty():
        raise click.UsageError("no keys: give --prefix or --keys, or pipe them in, one a line")
    return LineSource(sys.stdin.buffer, "standard input")
